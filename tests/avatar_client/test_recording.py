"""Recordings keep the offset that sound and video had at the sender."""

import asyncio
import errno
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from avatar_client import recording
from avatar_client.errors import RecordingError
from avatar_client.received_media import ReceivedFrame, ReceivedMedia
from avatar_client.recording import Recorder, RecordingWriter

FLASH_S = 1.0  # sender time, also of the click


def video_frame(index: int, start_s: float) -> av.VideoFrame:
    """Frame `index` of a video track whose pts 0 is `start_s`; white from FLASH_S for 0.2 s."""
    lit = FLASH_S - 1e-6 <= start_s + index / 25 < FLASH_S + 0.2
    pixels = np.full((96, 64), 235 if lit else 16, np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
    frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
    return frame


def audio_frame(index: int, start_s: float) -> av.AudioFrame:
    """20 ms of a track whose pts 0 is `start_s`; a tone from FLASH_S for 0.2 s."""
    times = start_s + (index * 960 + np.arange(960)) / 48_000
    tone = np.sin(2 * np.pi * 1000 * times) * 20_000
    samples = np.where((times >= FLASH_S) & (times < FLASH_S + 0.2), tone, 0).astype(np.int16)
    packed = np.repeat(samples, 2).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * 960, Fraction(1, 48_000)
    return frame


def receive_packets(media: ReceivedMedia, audio_start_s: float, video_start_s: float) -> None:
    for kind, start_s, rate in (("audio", audio_start_s, 48_000), ("video", video_start_s, 90_000)):
        for n in range(100):
            media.clocks[kind].packet(n * rate // 50, round((100 + start_s + n / 50) * 1e6))
    media.synchronised.set()


async def record(
    path: Path, audio_start_s: float, video_start_s: float, lost_sounds: range = range(0)
) -> Recorder:
    media = ReceivedMedia()
    recorder = Recorder(media, path, 25)
    taps = media._taps
    for step in range(100):  # two seconds; their offset is known in the middle
        if step == 40:
            receive_packets(media, audio_start_s, video_start_s)
        frames = [] if step in lost_sounds else [("audio", audio_frame(step, audio_start_s))]
        if step % 2 == 0:
            frames.append(("video", video_frame(step // 2, video_start_s)))
        for kind, frame in frames:
            for tap in taps:
                tap(ReceivedFrame(kind, frame, step * 0.02))
    await recorder.aclose()
    return recorder


def onsets_s(path: Path) -> tuple[float, float]:
    """Times in the file at which the video turns bright and the sound begins."""
    with av.open(str(path)) as container:
        flash = next(
            frame.time
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 120
        )
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
            if len(loud):
                return flash, frame.time + loud[0] / frame.sample_rate
    raise AssertionError("no sound in the recording")


@pytest.mark.parametrize("audio_start_s", [0.0, 0.12, 0.4])
async def test_the_offset_of_sound_and_video_is_kept(tmp_path, audio_start_s):
    path = tmp_path / "a.mp4"
    recorder = await record(path, audio_start_s, 0.0)

    flash_s, click_s = onsets_s(path)
    assert flash_s == pytest.approx(click_s, abs=0.012)
    assert flash_s == pytest.approx(FLASH_S, abs=0.002)
    assert recorder.alignment == "packets"


async def test_the_offset_is_kept_if_the_video_starts_later(tmp_path):
    path = tmp_path / "a.mp4"
    await record(path, 0.0, 0.2)

    flash_s, click_s = onsets_s(path)
    assert flash_s == pytest.approx(click_s, abs=0.012)


async def test_lost_sound_does_not_move_later_sound(tmp_path):
    path = tmp_path / "a.mp4"
    await record(path, 0.0, 0.0, lost_sounds=range(10, 18))

    flash_s, click_s = onsets_s(path)
    assert flash_s == pytest.approx(click_s, abs=0.012)


async def test_a_recording_is_h264_and_aac(tmp_path):
    path = tmp_path / "a.mp4"
    await record(path, 0.0, 0.0)

    with av.open(str(path)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]


async def test_a_recording_without_video_is_an_error(tmp_path):
    recorder = Recorder(ReceivedMedia(), tmp_path / "a.mp4", 25)

    with pytest.raises(RecordingError, match="no video frame was received"):
        await recorder.aclose()
    await asyncio.sleep(0)
    await recorder.aclose()  # the second time there is nothing left to do


async def test_a_recording_into_a_missing_folder_is_refused_at_once(tmp_path):
    with pytest.raises(RecordingError, match="There is no folder"):
        Recorder(ReceivedMedia(), tmp_path / "nowhere" / "a.mp4", 25)


@pytest.mark.fault("intruders")
async def test_a_name_that_is_a_folder_is_refused_at_once(tmp_path):
    """A recording that cannot be written is refused before it begins."""
    (tmp_path / "a.mp4").mkdir()

    with pytest.raises(RecordingError, match="is a folder"):
        Recorder(ReceivedMedia(), tmp_path / "a.mp4", 25)


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "A.MP4"])
async def test_a_full_disk_ends_the_recording_with_its_name_and_reason(tmp_path, name):
    """A recording onto a full disk fails by name, and nothing else with it."""
    path = tmp_path / name
    path.symlink_to("/dev/full")

    with pytest.raises(RecordingError, match=f"{name} is broken: No space left on device"):
        await record(path, 0.0, 0.0)


@pytest.mark.fault("intruders")
async def test_after_the_first_failed_write_nothing_is_encoded(tmp_path, monkeypatch):
    """After the first failed write a recording encodes nothing more."""
    encoded = []
    monkeypatch.setattr(
        RecordingWriter, "write_audio", lambda self, frame: encoded.append(frame.pts)
    )
    (tmp_path / "a.mp4").symlink_to("/dev/full")
    monkeypatch.setattr(RecordingWriter, "write_video", _fail)

    with pytest.raises(RecordingError, match=r"a\.mp4 is broken: No space left on device"):
        await record(tmp_path / "a.mp4", 0.0, 0.0)
    assert len(encoded) <= 1  # the sound before the first picture


def _fail(self, frame):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.fault("intruders")
async def test_a_recording_whose_folder_is_removed_is_told_as_lost(tmp_path):
    """A recording that was removed while it was written is told as lost."""
    folder = tmp_path / "here"
    folder.mkdir()
    media, recorder = await half_recorded(folder / "a.mp4")
    shutil.rmtree(folder)
    feed(media, range(100, 140))

    with pytest.raises(RecordingError, match=r"a\.mp4 is lost: it was removed"):
        await recorder.aclose()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.fault("shutdown")
async def test_a_recording_is_readable_while_it_is_written(tmp_path, name):
    """A recording can be played at any moment, to within two seconds."""
    path = tmp_path / name
    _, recorder = await half_recorded(path)
    size = 0
    while path.stat().st_size != size:  # the encoder's thread is at work
        size = path.stat().st_size
        await asyncio.sleep(0.03)

    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times[0] == pytest.approx(0, abs=0.002)
    assert times[-1] > 4.0 - 2.0
    await recorder.aclose()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 100


async def test_sound_without_pictures_is_held_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MAX_WAITING", 50)
    media = ReceivedMedia()
    recorder = Recorder(media, tmp_path / "a.mp4", 25)
    for step in range(200):
        for tap in media._taps:
            tap(ReceivedFrame("audio", audio_frame(step, 0.0), step * 0.02))

    assert len(recorder._waiting) == 50
    with pytest.raises(RecordingError, match="no video frame"):
        await recorder.aclose()


async def test_a_picture_with_odd_sides_is_recorded(tmp_path):
    media = ReceivedMedia()
    recorder = Recorder(media, tmp_path / "a.mp4", 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((75, 51, 3), np.uint8), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    for tap in [*media._taps]:
        tap(ReceivedFrame("video", frame, 0.0))
    await recorder.aclose()

    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (50, 74)


def feed(media: ReceivedMedia, steps: range) -> None:
    """Frames of 20 ms each, as they would arrive."""
    for step in steps:
        frames = [("audio", audio_frame(step, 0.0))]
        if step % 2 == 0:
            frames.append(("video", video_frame(step // 2, 0.0)))
        for kind, frame in frames:
            for tap in [*media._taps]:
                tap(ReceivedFrame(kind, frame, step * 0.02))


async def half_recorded(path: Path) -> tuple[ReceivedMedia, Recorder]:
    """A recording in the making: four seconds were received."""
    media = ReceivedMedia()
    recorder = Recorder(media, str(path), 25)
    receive_packets(media, 0.0, 0.0)
    feed(media, range(200))
    await asyncio.wait(set(recorder._jobs))
    return media, recorder
