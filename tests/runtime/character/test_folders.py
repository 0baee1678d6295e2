"""Folders that appear whole or not at all."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from runtime.character.folders import (
    LEFT_BEHIND_S,
    character_folders,
    delete_folder,
    new_folder,
    write_file,
)
from runtime.errors import NotFound, NotWritten, Taken


def make(root: Path, name: str = "mia") -> Path:
    with new_folder(root / name) as aside:
        write_file(aside / "character.json", b"{}")
    return root / name


@pytest.mark.fault("intruders")
def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    """A character that is being written is not there yet, for nobody."""
    with new_folder(tmp_path / "mia") as aside:
        write_file(aside / "character.json", b"{}")
        assert not character_folders([tmp_path])
        assert not (tmp_path / "mia").exists()
    assert character_folders([tmp_path]) == {"mia": tmp_path / "mia"}
    assert os.listdir(tmp_path) == ["mia"]  # noqa: PTH208


def test_nothing_is_left_of_a_folder_whose_writing_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "mia"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A full disk refuses a character in one sentence and keeps no part of it."""

    def fail(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NotWritten, match=os.strerror(code)) as refused:
        make(tmp_path)
    assert refused.value.why == os.strerror(code)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file/below", "file"])
def test_a_root_that_is_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritten, match="file"):
        make(tmp_path / name)
    assert not character_folders([tmp_path / name, tmp_path / "none"])


@pytest.mark.fault("intruders")
def test_of_two_that_write_one_name_one_wins(tmp_path: Path) -> None:
    """Of several uploads of one id at the same moment one wins, and the others hear that."""
    together, results = threading.Barrier(8), []

    def write(number: int) -> None:
        try:
            with new_folder(tmp_path / "mia") as aside:
                write_file(aside / "character.json", b"%d" % number)
                together.wait(10)
            results.append(number)
        except Taken:
            results.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    (winner,) = (each for each in results if each is not None)
    assert (tmp_path / "mia" / "character.json").read_bytes() == b"%d" % winner
    assert len(results) == 8
    assert [each.name for each in tmp_path.iterdir()] == ["mia"]


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_a_name_that_is_there_is_taken(tmp_path: Path, there: str) -> None:
    if there == "folder":
        make(tmp_path)
    elif there == "file":
        (tmp_path / "mia").touch()
    else:
        (tmp_path / "mia").symlink_to("nowhere")
    with pytest.raises(Taken, match="exists"):
        make(tmp_path)


def test_a_deleted_folder_is_gone_once(tmp_path: Path) -> None:
    folder = make(tmp_path)
    delete_folder(folder)
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFound, match="any more"):
        delete_folder(folder)


def test_what_a_killed_process_left_is_ignored_and_later_removed(tmp_path: Path) -> None:
    old = time.time() - LEFT_BEHIND_S - 1
    for name in (".new-0123", ".gone-0123", ".new-fresh", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "character.json").write_text("{")
        if name != ".new-fresh":
            os.utime(tmp_path / name, (old, old))
    assert not character_folders([tmp_path])
    make(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".git", ".new-fresh", "mia"]
