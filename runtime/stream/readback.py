"""Final latent frames to video frames in host memory.

On a GPU, decoding and the device-to-host copy run on their own CUDA stream, so the next tick can be
enqueued meanwhile. Only the first read of a frame blocks.

A sum over all latents and pixels tells whether the model still computes numbers: one NaN or
infinity makes it NaN or infinite. Reading such frames raises FloatingPointError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from runtime.models.autoencoder.pixel_planes import Layout, to_bytes
from runtime.stream.engines import Decoder
from runtime.timing import frames_of_latent
from runtime.values import Frame


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """`host` on the device; on a GPU the copy is enqueued, from pinned memory, without a wait."""
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True, eq=False)
class ReadbackFrames(Sequence[Frame]):
    """The frames of a tick in order. `len` is valid immediately; reading a frame may block."""

    indices: Sequence[int]
    pixels: Tensor  # (F, ...) uint8 in pinned host memory, valid once `copied` has happened
    total: Tensor  # () float32, likewise
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
        _check_numbers(self.total, self.indices)
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        return Frame(self.indices[place], self.pixels[place].numpy())


class FrameReadback:
    """Decodes the final latent frames of a stream and copies their pixels to the host."""

    def __init__(self, decoder: Decoder, device: torch.device, layout: Layout) -> None:
        self._decoder = decoder
        self._layout = layout
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def frames(
        self, latents: range, clean: dict[int, Tensor], decoder_states: dict[int, Any]
    ) -> Sequence[Frame]:
        """The video frames of these latent frames; on a CPU a list.

        `clean[n]` is latent frame n, (C, h, w). `decoder_states` has that of the latent frame
        before; those after each of `latents` are added.
        """
        if not latents:
            return []
        indices = range(frames_of_latent(latents[0]).start, frames_of_latent(latents[-1]).stop)
        if self._stream is None:
            pixels, total = self._decode(latents, clean, decoder_states)
            _check_numbers(total, indices)
            return [Frame(*pair) for pair in zip(indices, pixels.numpy(), strict=True)]
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            decoded = self._decode(latents, clean, decoder_states)
            host, total = (_copy_to_host(each) for each in decoded)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        for latent in latents:  # from the main stream: their memory must not be reused meanwhile
            clean[latent].record_stream(self._stream)
        return ReadbackFrames(indices, host, total, copied)

    def _decode(
        self, latents: range, clean: dict[int, Tensor], decoder_states: dict[int, Any]
    ) -> tuple[Tensor, Tensor]:
        """Pixels (F, ...) uint8 on the device, and the sum over what they come from."""
        decoded: list[Tensor] = []
        sums: list[Tensor] = []
        for latent in latents:
            video, decoder_states[latent] = self._decoder.decode(
                clean[latent][None], decoder_states[latent - 1]
            )
            new = video[0] if latent > 0 else video[0, :, -1:]  # latent frame 0 is one video frame
            decoded.append(self._pixels(new))
            sums += [each.sum(dtype=torch.float32) for each in (clean[latent], new)]
        return torch.cat(decoded), torch.stack(sums).sum()

    def _pixels(self, video: Tensor) -> Tensor:
        """Video (3, F, H, W) in [-1, 1] as uint8 (F, ...) in the stream's layout."""
        if self._layout == "rgb":
            pixels = (video + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
            return torch.stack(pixels.unbind(), dim=-1)
        return to_bytes((video.movedim(1, 0) + 1) / 2, self._layout)


def _copy_to_host(on_device: Tensor) -> Tensor:
    """A copy in pinned memory, complete once the current stream has come so far."""
    host = torch.empty(on_device.shape, dtype=on_device.dtype, pin_memory=True)
    return host.copy_(on_device, non_blocking=True)


def _check_numbers(total: Tensor, frames: Sequence[int]) -> None:
    if not math.isfinite(float(total)):
        raise FloatingPointError(
            f"frames {frames[0]} to {frames[-1]} hold values that are not finite"
        )
