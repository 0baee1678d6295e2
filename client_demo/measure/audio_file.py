"""Speech from files: any sound that FFmpeg reads, as mono PCM16 at the session's rate."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from avatar_client.media_files.failure import MediaFileError as AudioFileError
from avatar_client.media_files.paths import is_file, is_folder
from avatar_client.media_files.sound_file import read_sound
from numpy.typing import NDArray

CHUNK_MS = 40
AUDIBLE = 0.01  # root mean square of 10 ms, -40 dB of full scale: quieter is silence
FULL_SCALE = 32767

__all__ = ["AudioFileError", "SpeechFile", "at_speaking_pace", "read_speech", "sound_onset"]


@dataclass(frozen=True, slots=True)
class SpeechFile:
    """Mono PCM16 samples (N,) at `rate` Hz; `notes` are sentences on what is odd about the file."""

    samples: NDArray[np.int16]
    rate: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    def chunks(self, chunk_ms: int = CHUNK_MS) -> Iterator[bytes]:
        """The samples as little-endian bytes, `chunk_ms` at a time; the last may be shorter."""
        step = self.rate * chunk_ms // 1000
        for start in range(0, len(self.samples), step):
            yield self.samples[start : start + step].astype("<i2").tobytes()


def read_speech(path: Path, rate: int) -> SpeechFile:
    """Read the first audio track of `path`, mixed to mono and resampled to `rate` Hz.

    Raises AudioFileError if the file is missing, has no sound or cannot be read.
    """
    if not (is_file(path) or is_folder(path)):
        raise AudioFileError(f"There is no file {path}. Pass the path of a sound file.")
    sound = read_sound(path, rate)
    samples = np.round(sound.samples * FULL_SCALE).astype(np.int16)
    return SpeechFile(samples, rate, sound.notes)


def sound_onset(samples: NDArray[np.int16], rate: int, threshold: float = AUDIBLE) -> int | None:
    """Index of the first audible sample, to within 10 ms; None if all is quiet."""
    block = rate // 100
    whole = len(samples) // block * block
    blocks = samples[:whole].reshape(-1, block).astype(np.float64) / 32768
    loud = np.flatnonzero(np.sqrt(np.mean(blocks**2, axis=1)) >= threshold)
    return int(loud[0]) * block if len(loud) else None


async def at_speaking_pace(speech: SpeechFile, chunk_ms: int = CHUNK_MS) -> AsyncIterator[bytes]:
    """The chunks of `speech` at the pace of a person: each at the moment at which it is spoken."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index, chunk in enumerate(speech.chunks(chunk_ms)):
        due = start + (index + 1) * chunk_ms / 1000
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield chunk
