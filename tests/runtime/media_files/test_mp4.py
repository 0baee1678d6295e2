"""Videos written frame by frame appear whole, or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from runtime.errors import BadInput
from runtime.media_files.mp4 import VideoFileWriter


def write(file: Path, frames: int = 25, meanwhile: Callable[[], None] = lambda: None) -> None:
    with VideoFileWriter(file, 64, 64) as video:
        for index in range(frames):
            pixels = np.full((64, 64, 3), index, np.uint8)
            video.write(pixels, np.zeros(1920, np.float32))
        meanwhile()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_the_ending_decides_the_format(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    with av.open(str(tmp_path / name)) as container:
        assert container.format.name.startswith({".mkv": "matroska"}.get(name[1:], "mov"))
        assert sum(1 for _ in container.decode(video=0)) == 25
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("frames", [1, 2, 14, 15, 26, 27, 28, 41, 54])
def test_the_last_picture_is_in_the_file(tmp_path: Path, frames: int) -> None:
    with VideoFileWriter(tmp_path / "a.mp4", 64, 64) as video:
        for index in range(frames):
            pixels = np.full((64, 64, 3), 120, np.uint8)
            pixels[20:30, 2 * index % 50 : 2 * index % 50 + 8] = 250
            video.write(pixels, np.zeros(1920, np.float32))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames


@pytest.mark.fault("intruders")
def test_a_full_disk_is_told_and_an_old_video_stays(tmp_path: Path, monkeypatch) -> None:
    """A video that finds no room is told by name, and an older one of its name stays."""
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    with pytest.raises(BadInput, match=r"full\.mp4 is broken: No space left on device"):
        write(tmp_path / "full.mp4")

    write(tmp_path / "a.mp4", 3)
    old = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ValueError, match="not in list"):
        write(tmp_path / "a.mp4", 3, meanwhile=lambda: [].remove(0))
    assert (tmp_path / "a.mp4").read_bytes() == old
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.mp4", "full.mp4"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "a.mp4").symlink_to("there/b.mp4")
    write(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").is_symlink()
    assert (tmp_path / "there" / "b.mp4").stat().st_size > 1000


@pytest.mark.fault("intruders")
def test_a_folder_that_goes_away_is_told(tmp_path: Path) -> None:
    """A video whose folder is removed is told as lost."""
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(BadInput, match=r"a\.mp4 is lost"):
        write(folder / "a.mp4", meanwhile=lambda: shutil.rmtree(folder))
