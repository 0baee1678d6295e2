"""A CUDA stream of an engine's own, between what its caller queued before and after.

An engine whose tensors have fixed addresses may serve callers on several streams: it starts after
the caller's work and after what the last caller queued to read the outputs, which it overwrites.
The host waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OwnStream:
    """One for each engine; callers take turns from one thread."""

    def __init__(self, device: torch.device) -> None:
        self.cuda: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._reader: torch.cuda.Stream | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What is queued inside runs on this stream, and before what the caller queues next."""
        caller = torch.cuda.current_stream(self.cuda.device)
        self.cuda.wait_stream(caller)
        if self._reader is not None:  # what was queued to read the outputs of the last turn
            self.cuda.wait_stream(self._reader)
        with torch.cuda.stream(self.cuda):
            yield
        caller.wait_stream(self.cuda)
        self._reader = caller
