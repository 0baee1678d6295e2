"""Sound files of any format that FFmpeg reads, as one channel of float samples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avatar_client.media_files.failure import MediaFileError, reason_of
from avatar_client.media_files.mixing import ChannelLevels, mixed
from avatar_client.media_files.paths import is_file, is_folder
from avatar_client.media_files.wav_parts import FilePart, WavPart, wav_parts

Samples = NDArray[np.float32]

FORMATS_NAMED = "WAV, MP3, FLAC, Ogg, Opus, M4A or another common format"
LOWEST_RATE, HIGHEST_RATE = 100, 768_000  # Hz
# A sound file must not make FFmpeg open other files or addresses, as a play list would.
ALONE = {"protocol_whitelist": "none"}


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples (N,) in [-1, 1] of one channel at `rate` Hz, and what was odd about the file.

    Each of `notes` is a sentence for the user that names the file.
    """

    samples: Samples
    rate: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """What is counted while a file is decoded."""

    longest_s: float
    frames_s: float = 0.0
    not_finite: int = 0
    levels: ChannelLevels = field(default_factory=ChannelLevels)


def read_sound(path: Path, rate: int, longest_s: float = float("inf")) -> Sound:
    """The first audio track of `path`, its channels mixed, resampled to `rate` Hz.

    WAV files that were glued together are read to the last. Values that are no numbers become
    silence. Raises MediaFileError for a file that is missing, damaged, empty, without sound, or
    longer than `longest_s`.
    """
    if not is_file(path):
        what = "is a folder" if is_folder(path) else "does not exist"
        raise MediaFileError(f"There is no sound file {path}: it {what}. Check the path.")
    try:
        if path.stat().st_size == 0:
            raise MediaFileError(
                f"{path} cannot be read as sound: it is empty. Use {FORMATS_NAMED}."
            )
        parts = wav_parts(path)
        if any(part.is_rifx for part in parts):  # FFmpeg would play it as noise
            raise MediaFileError(
                f"{path} is a RIFX file, a WAV with big-endian samples. Use {FORMATS_NAMED}."
            )
        reading = _Reading(longest_s)
        levels = _levels(path, parts, longest_s)
        samples = _resampled(_mono(path, parts, reading, levels), rate)
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        if isinstance(error, MediaFileError):
            raise
        raise MediaFileError(
            f"{path} cannot be read as sound ({reason_of(error)}). Use {FORMATS_NAMED}."
        ) from error
    if not samples.size:
        raise MediaFileError(f"{path} has no samples: it is empty. Use a file with sound in it.")
    return Sound(samples, rate, tuple(_notes(path, parts, reading)))


def _levels(path: Path, parts: list[WavPart], longest_s: float) -> ChannelLevels:
    """The levels of all channels, for mixing; a file of one channel needs none."""
    levels = ChannelLevels()
    reading = _Reading(longest_s)
    for channels, _ in _frames(path, parts, reading):
        if len(channels) > 1:
            levels.add(channels)
        elif not levels.is_used:
            return levels
    return levels


def _mono(
    path: Path, parts: list[WavPart], reading: _Reading, levels: ChannelLevels
) -> Iterator[tuple[Samples, int]]:
    for channels, rate in _frames(path, parts, reading):
        yield mixed(channels, levels), rate


def _frames(path: Path, parts: list[WavPart], reading: _Reading) -> Iterator[tuple[Samples, int]]:
    """(channels (C, N), rate) of each decoded frame, finite; MediaFileError without sound."""
    for part in parts or [WavPart(0, path.stat().st_size)]:
        file = FilePart(path, part.start, part.end)
        try:
            with av.open(file, "r", options=ALONE) as container:
                if not container.streams.audio:
                    raise MediaFileError(
                        f"{path} has no sound in it. Use a file with an audio track."
                    )
                for frame in container.decode(audio=0):
                    _check_rate(path, frame.sample_rate)
                    yield _finite(_floats(frame), reading), frame.sample_rate
                    reading.frames_s += frame.samples / frame.sample_rate
                    if reading.frames_s > reading.longest_s:
                        raise MediaFileError(
                            f"{path} is longer than {reading.longest_s / 60:.0f} minutes. Cut it "
                            "into parts."
                        )
        finally:
            file.close()


def _check_rate(path: Path, rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:  # resampling would take minutes
        raise MediaFileError(
            f"{path} says that it has {rate:,} samples a second, and sound has {LOWEST_RATE:,} to "
            f"{HIGHEST_RATE:,}. Write it again with the right rate in its header."
        )


def _floats(frame: av.AudioFrame) -> Samples:
    """Samples (C, N) of any format, full scale at 1."""
    values: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    if np.issubdtype(values.dtype, np.integer):
        full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
        return np.asarray(values / full_scale, np.float32)
    with np.errstate(over="ignore"):  # too large for float32 is infinite, and told as such
        return np.asarray(values, np.float32)


def _finite(channels: Samples, reading: _Reading) -> Samples:
    finite = np.isfinite(channels)
    if finite.all():
        return channels
    reading.not_finite += int(channels.size - np.count_nonzero(finite))
    return np.where(finite, channels, np.float32(0))


def _resampled(frames: Iterator[tuple[Samples, int]], rate: int) -> Samples:
    """All frames at `rate` Hz; the rate may change from one frame to the next."""
    parts: list[Samples] = []
    resampler: av.AudioResampler | None = None
    before = 0
    for samples, source_rate in chain(frames, [(np.zeros(0, np.float32), -1)]):
        if source_rate != before:
            parts += _drained(resampler)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            before = source_rate
        if samples.size and resampler is not None:
            packed = np.ascontiguousarray(samples).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="mono")
            frame.sample_rate = source_rate
            parts += [_values(one) for one in resampler.resample(frame)]
    joined = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.clip(joined, -1, 1)


def _drained(resampler: av.AudioResampler | None) -> list[Samples]:
    return [] if resampler is None else [_values(one) for one in resampler.resample(None)]


def _values(frame: av.AudioFrame) -> Samples:
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1)


def _notes(path: Path, parts: list[WavPart], reading: _Reading) -> Iterator[str]:
    if len(parts) > 1:
        yield f"{path} is {len(parts)} WAV files glued together; all of them are played."
    stray = sum(part.stray_bytes for part in parts)
    if stray:
        yield (
            f"{path}: {stray:,} bytes follow the end that its header gives, and are not played. "
            "If they are sound, write the file again with the right size in its header."
        )
    if reading.not_finite:
        yield (
            f"{path} has {reading.not_finite:,} values that are no numbers (NaN or infinite); they "
            "are played as silence."
        )
