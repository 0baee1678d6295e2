"""Names of outputs are judged before any work is done."""

import os
from pathlib import Path

import pytest
from avatar_client.media_files.failure import MediaFileError
from avatar_client.media_files.output_name import check_output, check_video_output, container_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mp4", "mp4"), ("A.MP4", "mp4"), ("a.b.mov", "mov"), ("a.mkv", "matroska")],
)
def test_the_ending_decides_the_format(tmp_path, name, expected):
    assert container_of(tmp_path / name) == expected
    check_video_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    "name", ["t.webm", "t.gif", "t.avi", "t", "t.wav", ".mp4", "mp4", "t.mp4.part", "t.mp4 "]
)
def test_other_endings_are_refused_with_those_there_are(tmp_path, name):
    """An output that is no .mp4, .mov or .mkv is refused before any work."""
    with pytest.raises(MediaFileError, match=r"\.mp4, \.mov or \.mkv"):
        check_video_output(tmp_path / name)


@pytest.mark.fault("intruders")
def test_places_that_cannot_be_written_are_refused(tmp_path):
    """An output whose place cannot be written is refused before any work."""
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for name, message in (
        ("none/a.mp4", "There is no folder"),
        ("folder.mp4", "is a folder"),
        ("file/a.mp4", "There is no folder"),
        ("pipe.mp4", "no ordinary file"),
        ("loop.mp4", "cannot be written"),
        (f"{'x' * 300}.mp4", "cannot be written: File name too long"),
    ):
        with pytest.raises(MediaFileError, match=message):
            check_video_output(tmp_path / name)


@pytest.mark.fault("intruders")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path):
    """An output in a read-only folder is refused before any work."""
    if os.geteuid() == 0:
        place = "/sys/kernel/a.mp4"  # root may write everywhere but here
    else:
        (tmp_path / "mine").mkdir(mode=0o500)
        place = str(tmp_path / "mine" / "a.mp4")
    with pytest.raises(MediaFileError, match="cannot be written: "):
        check_video_output(Path(place))


@pytest.mark.fault("intruders")
def test_an_output_that_is_an_input_is_refused(tmp_path, monkeypatch):
    """An output that would overwrite an input is refused, whatever path leads to it."""
    monkeypatch.chdir(tmp_path)
    given = tmp_path / "a.mp4"
    given.touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.mp4").symlink_to(given)
    (tmp_path / "hard.mp4").hardlink_to(given)
    for name in ("a.mp4", "./a.mp4", "sub/../a.mp4", "link.mp4", "hard.mp4", str(given)):
        with pytest.raises(MediaFileError, match="also the input"):
            check_video_output(tmp_path / name, [given])
    check_output(tmp_path / "b.wav", [given, tmp_path / "gone.wav"])


def test_an_existing_video_may_be_written_over_and_is_left_as_it_is_until_then(tmp_path):
    (tmp_path / "a.mp4").write_text("old")
    (tmp_path / "link.mp4").symlink_to("new.mp4")
    check_video_output(tmp_path / "a.mp4")
    check_video_output(tmp_path / "link.mp4")
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert not (tmp_path / "new.mp4").exists()
