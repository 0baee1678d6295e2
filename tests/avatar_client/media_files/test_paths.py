from pathlib import Path

from avatar_client.media_files.paths import is_file, is_folder


def test_a_name_that_is_too_long_is_neither_a_file_nor_a_folder(tmp_path):
    assert not is_file(Path("x" * 5000))
    assert not is_folder(Path("x" * 5000))


def test_files_and_folders_are_told_apart(tmp_path):
    (tmp_path / "a").touch()
    assert (is_file(tmp_path / "a"), is_folder(tmp_path / "a")) == (True, False)
    assert (is_file(tmp_path), is_folder(tmp_path)) == (False, True)
