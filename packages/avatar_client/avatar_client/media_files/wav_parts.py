"""WAV files as people really have them: several glued into one, or a header with a wrong size.

FFmpeg, like most players, ends at the size that the first header gives. Here every part is found,
and bytes that no header announces are told.
"""

import io
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

HEAD = re.compile(rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE", re.DOTALL)
UNKNOWN_SIZES = (0, 0x7FFFFFFF - 36, 0x7FFFFFFF, 0xFFFFFFFF)  # of writers that stream
CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _-]{4}")
PADDING = 1  # bytes behind a chunk of odd length


@dataclass(frozen=True, slots=True)
class WavPart:
    """Bytes [start, end) of a file that are one WAV file.

    `stray_bytes` lie behind the end that its header gives, and are no sound for FFmpeg. The samples
    of a RIFX file are big-endian.
    """

    start: int
    end: int
    stray_bytes: int = 0
    is_rifx: bool = False


def wav_parts(path: Path) -> list[WavPart]:
    """The WAV files that `path` consists of; none if it does not begin like one. OSError."""
    with path.open("rb") as file:
        if not HEAD.match(file.read(12)):
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            starts = [found.start() for found in HEAD.finditer(content)]
            ends = [*starts[1:], len(content)]
            return [
                WavPart(
                    start,
                    end,
                    _stray_bytes(content, start, end),
                    is_rifx=content[start : start + 4] == b"RIFX",
                )
                for start, end in zip(starts, ends, strict=True)
            ]


def _stray_bytes(content: mmap.mmap, start: int, end: int) -> int:
    """Bytes behind the last chunk of the part; 0 if its data have no known size."""
    is_big = content[start : start + 4] == b"RIFX"
    at = start + 12
    has_sound = False
    while end - at >= 8 and CHUNK_NAME.fullmatch(content[at : at + 4]):
        name = content[at : at + 4]
        size = int.from_bytes(content[at + 4 : at + 8], "big" if is_big else "little")
        if name == b"data" and size in UNKNOWN_SIZES:
            return 0
        if at + 8 + size > end and has_sound:
            break  # samples that look like a chunk
        has_sound = has_sound or name == b"data"
        at += 8 + size + size % 2
    return max(0, end - at) if has_sound and end - at > PADDING else 0


class FilePart(io.RawIOBase):
    """Bytes [start, end) of a file as a file of their own, to read."""

    def __init__(self, path: Path, start: int = 0, end: int | None = None) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start = start
        self._end = self._file.seek(0, io.SEEK_END) if end is None else end
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._end - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = (self._start, self._file.tell(), self._end)
        at = max(self._start, bases[whence] + offset)
        return self._file.seek(at) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def close(self) -> None:
        self._file.close()
        super().close()
