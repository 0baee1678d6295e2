"""A CUDA stream that belongs to one engine, ordered between its callers' work.

An engine whose tensors have fixed addresses may serve callers on several streams. It starts after
the caller's queued work, and after the last caller's reads of the outputs that it overwrites. The
host never waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OwnStream:
    """One stream for each engine; callers take turns from one thread."""

    def __init__(self, device: torch.device) -> None:
        self.cuda: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._reader: torch.cuda.Stream | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work queued inside runs on this stream, before the caller's next work."""
        caller = torch.cuda.current_stream(self.cuda.device)
        self.cuda.wait_stream(caller)
        if self._reader is not None:  # the last caller may still read the outputs
            self.cuda.wait_stream(self._reader)
        with torch.cuda.stream(self.cuda):
            yield
        caller.wait_stream(self.cuda)
        self._reader = caller
