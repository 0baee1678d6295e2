"""Video files that can be read at any moment, whatever ends the process that writes them.

They are written in fragments of half a second, each complete in itself. `close` turns them into
plain files, with an index at the end. After a failed write nothing more reaches the file, so the
fragments that it holds stay readable.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from avatar_client.media_files.failure import MediaFileError, reason_of
from avatar_client.media_files.output_name import container_of

_ANY = {"flush_packets": "1", "max_interleave_delta": "1000000"}  # us: a track may stay away
_FRAGMENTS = {
    # The header waits for the first fragment: only then it can say when each track begins.
    "movflags": "+hybrid_fragmented+default_base_moof+delay_moov",
    "frag_duration": "500000",  # us
}
OPTIONS = {
    "mp4": _ANY | _FRAGMENTS,
    "mov": _ANY | _FRAGMENTS,
    "matroska": _ANY | {"cluster_time_limit": "500"},  # ms
}

LARGEST_FRAGMENT = 4 << 20  # bytes; a smaller one is written at once, so it is there or not


class VideoFile:
    """A video file in the making; add streams to its `container`, `mux` their packets, `close` it.

    `shown` is the name in messages, by default `path`; its ending decides the format. All methods
    raise MediaFileError. After the first of them nothing more is written, and `mux` raises again:
    libavformat crashes if it is used after a failed header.
    """

    def __init__(self, path: Path, shown: Path | None = None) -> None:
        self._path = path
        self._shown = shown or path
        kind = container_of(self._shown)
        try:
            self._target = _Target(path)
        except OSError as error:
            raise self._broken(error) from error
        self.container = av.open(
            self._target, "w", format=kind, options=OPTIONS[kind], buffer_size=LARGEST_FRAGMENT
        )

    def mux(self, packets: "Sequence[av.Packet[Any]]") -> None:
        """Add the packets of one stream."""
        if self._target.closed:
            raise MediaFileError(f"{self._shown} is closed.")
        try:
            self.container.mux(packets)
        except (av.FFmpegError, OSError) as error:
            self.abandon()
            raise self._broken(error) from error

    def close(self) -> None:
        """Finish the file. An error too if it is no longer under its name."""
        if self._target.closed:
            return
        try:
            self.container.close()
            is_there = self._target.is_under(self._path)
        except (av.FFmpegError, OSError) as error:
            raise self._broken(error) from error
        finally:
            self.abandon()
        if not is_there:
            raise MediaFileError(
                f"{self._shown} is lost: it was removed or replaced while it was written."
            )

    def abandon(self) -> None:
        """Write nothing more; what the file holds is left as it is."""
        self._target.close()  # the container writes no end into a closed file

    def _broken(self, error: Exception) -> MediaFileError:
        return MediaFileError(f"{self._shown} is broken: {reason_of(error)}.")


class _Target(io.FileIO):
    """The file as FFmpeg sees it: a write is taken whole, or fails and so do all later ones."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self._end = 0  # of what was written whole
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self._failure is not None:
            raise self._failure
        start = self.tell()
        try:
            self._write_all(memoryview(data))
        except OSError as error:
            self._failure = error
            if start == self._end:
                with contextlib.suppress(OSError):  # a device has no length
                    self.truncate(start)  # players stumble over half a fragment
            raise
        self._end = max(self._end, start + len(data))
        return len(data)

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[super().write(rest) or 0 :]

    def is_under(self, path: Path) -> bool:
        """Does `path` still lead to this file?"""
        try:
            return os.path.samestat(path.stat(), os.fstat(self.fileno()))
        except FileNotFoundError:
            return False
