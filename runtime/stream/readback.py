"""Frames on their way from a device to the host.

A device decodes and copies on a stream of its own, so the next tick's work can be queued meanwhile:
who wants the pictures waits for them, once, and nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from runtime.values import Frame


@dataclass(frozen=True, slots=True, eq=False)
class PendingFrames(Sequence[Frame]):
    """The frames of a tick in order; their number is known, the first look at one waits."""

    indices: Sequence[int]
    pixels: Tensor  # (F, ...) uint8 in pinned host memory, whole once `copied` has happened
    copied: torch.cuda.Event

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, place: int) -> Frame: ...

    @overload
    def __getitem__(self, place: slice) -> list[Frame]: ...

    def __getitem__(self, place: int | slice) -> Frame | list[Frame]:
        if not self.copied.query():  # type: ignore[no-untyped-call]
            self.copied.synchronize()
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        return Frame(self.indices[place], self.pixels[place].numpy())


class HandOver:
    """Takes the pictures of a tick to the host; on a GPU beside the work that comes after."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def frames(
        self, indices: Sequence[int], latents: Sequence[Tensor], decode: Callable[[], Tensor]
    ) -> Sequence[Frame]:
        """The frames that `decode` makes of `latents`: pixels (F, ...) uint8, one for each index.

        On a CPU a list. `decode` is called at once, on the stream of its own.
        """
        if self._stream is None:
            return [Frame(*pair) for pair in zip(indices, decode().numpy(), strict=True)]
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            made = decode()
            pixels = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
            pixels.copy_(made, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        for latent in latents:  # made on the other stream: not to be reused before this one is done
            latent.record_stream(self._stream)
        return PendingFrames(indices, pixels, copied)
