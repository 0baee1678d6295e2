"""Video files that stay readable, whatever happens while they are written."""

import errno
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from avatar_client.media_files import video_file
from avatar_client.media_files.failure import MediaFileError
from avatar_client.media_files.video_file import VideoFile

FRAMES = 60


def write(path: Path, frames: int = FRAMES) -> None:
    """A film of noise with a tone; it says how far it came if it fails."""
    file = VideoFile(path)
    video = file.container.add_stream("libx264", rate=25)
    video.width = video.height = 64
    video.pix_fmt = "yuv420p"
    video.options = {"preset": "ultrafast", "rc-lookahead": "0", "threads": "1"}
    audio = file.container.add_stream("aac", rate=48_000, layout="mono")
    noise = np.random.default_rng(0)
    for index in range(frames):
        pixels = noise.integers(0, 255, (64, 64, 3), np.uint8)
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts, picture.time_base = index, Fraction(1, 25)
        file.mux(video.encode(picture))
        tone = np.sin(np.arange(1920, dtype=np.float32) * 0.1)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 48_000, index * 1920, Fraction(1, 48_000)
        file.mux(audio.encode(sound))
    file.mux(video.encode(None))
    file.mux(audio.encode(None))
    file.close()


def frames_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def boxes(path: Path) -> list[bytes]:
    content, at, names = path.read_bytes(), 0, []
    while at < len(content):
        names.append(content[at + 4 : at + 8])
        at += int.from_bytes(content[at : at + 4], "big")
    return names


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_finished_file_begins_at_0_and_has_every_frame(tmp_path, name):
    write(tmp_path / name)
    times = frames_of(tmp_path / name)
    assert times[0] == 0
    assert len(times) == FRAMES


def test_a_finished_file_is_a_plain_one_without_fragments(tmp_path):
    write(tmp_path / "a.mp4")
    assert boxes(tmp_path / "a.mp4") == [b"ftyp", b"free", b"mdat", b"moov"]


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("room", [0, 10, 700, 60_000, 90_000, -1000, -1])
def test_a_disk_that_fills_up_leaves_what_was_written_readable(tmp_path, monkeypatch, name, room):
    """On a disk that fills up a video fails by name, and what it holds stays readable."""
    write(tmp_path / f"whole-{name}")
    whole = (tmp_path / f"whole-{name}").stat().st_size
    room = room if room >= 0 else whole + room
    used = 0

    class SmallDisk(video_file._Target):
        def _write_all(self, rest: memoryview) -> None:
            nonlocal used
            part = rest[: max(0, room - used)]
            used += len(part)
            super()._write_all(part)
            if len(part) < len(rest):
                raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(video_file, "_Target", SmallDisk)
    path = tmp_path / name
    with pytest.raises(MediaFileError, match=rf"{name} is broken: No space left on device"):
        write(path)
    if room >= 60_000:
        assert len(frames_of(path)) >= 12
    if room > 90_000:
        assert len(frames_of(path)) >= FRAMES - 26


def test_after_a_failure_every_call_fails_and_none_crashes(tmp_path):
    (tmp_path / "a.mp4").symlink_to("/dev/full")
    file = VideoFile(tmp_path / "a.mp4")
    audio = file.container.add_stream("aac", rate=48_000, layout="mono")
    failures = 0
    for index in range(200):
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 48_000, index * 1024
        try:
            file.mux(audio.encode(sound))
        except MediaFileError:
            failures += 1
    assert failures > 100
    file.close()
    file.abandon()


def test_a_write_that_the_system_takes_in_pieces_is_whole(tmp_path):
    class Reluctant(io.FileIO):
        def write(self, data):
            return super().write(memoryview(data)[:7])

    class Target(video_file._Target, Reluctant):
        pass

    target = Target(tmp_path / "a")
    assert target.write(b"0123456789" * 10) == 100
    target.close()
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 10
