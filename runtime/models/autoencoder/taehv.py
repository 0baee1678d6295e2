"""TAEHV's decoder of HunyuanVideo latents: small, causal, and exact for any cut of a stream.

    decoder = load_taehv(Path("taehv.pth"), torch.device("cuda"), torch.float16)
    state = decoder.start(height=64, width=64)                 # latent rows and columns
    for latents in stream:                                     # (1, 16, T, 64, 64), any T
        frames, state = decoder.decode_video(latents, state)   # uint8 (4 T or 4 T - 3, 512, 512, 3)

The published weights (`taehv.pth`, github.com/madebyollin/taehv) load under their own names;
layers, widths and conventions are those of that repository's taehv.py. Latents are the denoiser's,
without further scale or shift. A latent frame becomes four frames; of a stream's first one only the
last of the four is a video frame.

Time is the batch axis. A memory block sees each frame beside the one before it, so the state of a
stream is one feature map for each block. Latent frames run one by one: every call has the same
shapes, so neither a cut nor a CUDA graph changes the result.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.errors import BadInput, CheckpointError
from runtime.models.autoencoder.pixel_planes import Layout, to_bytes
from runtime.timing import FRAMES_PER_LATENT

LATENT_CHANNELS = 16
WIDTHS = (256, 128, 64, 64)  # channels at 1, 2, 4 and 8 times the latents' resolution
GROWTH = (1, 2, 2)  # frames that each stage makes of one
MEMORY_BLOCKS = 3  # of a stage
FIRST_STAGE, STAGE_LAYERS = 3, 6  # published layer numbers: stage s begins at 3 + 6 s
GROW, PROJECT = 4, 5  # numbers within a stage, after the memory blocks and the upsampling
LATENT_RANGE = 3.0  # tanh limits latents to -3 .. 3
CHANNELS_LAST = torch.channels_last


@dataclass(frozen=True, slots=True)
class TaehvState:
    """The decoder between two latent frames of a stream. A value: to rewind, keep an old one."""

    memories: tuple[Tensor, ...]  # the newest input of each memory block, (1, width, rows, columns)
    is_started: bool  # False before the first latent frame


class MemoryBlock(nn.Module):
    """A residual block that sees each frame beside the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """x (t, width, rows, columns); memory (1, width, rows, columns) is the frame before it."""
        before = torch.cat([memory, x[:-1]])
        return F.relu(self.conv(torch.cat([x, before], dim=1)) + x)


class TimeGrow(nn.Module):
    """Makes `growth` frames of one by a linear map of its channels."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.growth = growth
        self.conv = nn.Conv2d(width, growth * width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (t, width, rows, columns) to (growth * t, width, rows, columns), in order of time."""
        grown = [part for one in self.conv(x).split(1) for part in one.chunk(self.growth, dim=1)]
        return torch.cat(grown).contiguous(memory_format=CHANNELS_LAST)


class Taehv(nn.Module):
    """The decoder. Holds weights only, channels last; `load_taehv` reads them from a file."""

    def __init__(self) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {"1": nn.Conv2d(LATENT_CHANNELS, WIDTHS[0], 3, padding=1)}
        for stage, growth in enumerate(GROWTH):
            width, following = WIDTHS[stage : stage + 2]
            for block in range(MEMORY_BLOCKS):
                layers[_name(stage, block)] = MemoryBlock(width)
            layers[_name(stage, GROW)] = TimeGrow(width, growth)
            layers[_name(stage, PROJECT)] = nn.Conv2d(width, following, 3, padding=1, bias=False)
        layers["22"] = nn.Conv2d(WIDTHS[-1], 3, 3, padding=1)
        self.decoder = nn.ModuleDict(layers)
        self.to(memory_format=CHANNELS_LAST)  # type: ignore[call-overload]

    @property
    def _weight(self) -> Tensor:
        return self.decoder["1"].get_parameter("weight")

    def start(self, height: int, width: int) -> TaehvState:
        """The state before the first latent frame of `height` rows and `width` columns."""
        shapes = [
            (1, WIDTHS[stage], height << stage, width << stage)
            for stage in range(len(GROWTH))
            for _ in range(MEMORY_BLOCKS)
        ]
        empty = (self._weight.new_zeros(shape) for shape in shapes)
        return TaehvState(tuple(m.contiguous(memory_format=CHANNELS_LAST) for m in empty), False)

    @torch.inference_mode()
    def decode(self, latent: Tensor, state: TaehvState) -> tuple[Tensor, TaehvState]:
        """Decode the next latent frame (1, 16, h, w) to four frames (1, 3, 4, 8h, 8w) in [-1, 1].

        Of a stream's first latent frame only the last of the four is a video frame.
        """
        frames, following = self._step(latent, state)
        return (2 * frames - 1).movedim(0, 1)[None], following

    @torch.inference_mode()
    def decode_video(
        self, latents: Tensor, state: TaehvState, layout: Layout = "rgb"
    ) -> tuple[Tensor, TaehvState]:
        """Decode the next latent frames (1, 16, T, h, w) to uint8 video frames on their device.

        The frames are (F, 8h, 8w, 3), or (F, 12h, 8w) as planes (pixel_planes.py). F is 4 T - 3 at
        the beginning of a stream, then 4 T.
        """
        self._check(latents, state)
        chunks = []
        for latent in latents.unbind(2):
            shown = FRAMES_PER_LATENT if state.is_started else 1
            frames, state = self._step(latent, state)
            chunks.append(to_bytes(frames[-shown:], layout))
        return torch.cat(chunks), state

    def _step(self, latent: Tensor, state: TaehvState) -> tuple[Tensor, TaehvState]:
        """One latent frame (1, 16, h, w) to frames (4, 3, 8h, 8w) in [0, 1]."""
        latent = latent.to(self._weight).contiguous(memory_format=CHANNELS_LAST)
        x = F.relu(self.decoder["1"](torch.tanh(latent / LATENT_RANGE) * LATENT_RANGE))
        old, new = iter(state.memories), []
        for stage in range(len(GROWTH)):
            for block in range(MEMORY_BLOCKS):
                new.append(x[-1:])
                x = self.decoder[_name(stage, block)](x, next(old))
            # taehv.py upsamples first; a map of channels and repeated pixels commute.
            x = self.decoder[_name(stage, GROW)](x)
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.decoder[_name(stage, PROJECT)](x)
        frames = self.decoder["22"](F.relu(x)).clamp(0, 1)
        return frames, TaehvState(tuple(new), True)

    @staticmethod
    def _check(latents: Tensor, state: TaehvState) -> None:
        rows, columns = state.memories[0].shape[-2:]
        fits = latents.dim() == 5 and latents.shape[:2] == (1, LATENT_CHANNELS)
        if not fits or latents.shape[-2:] != (rows, columns):
            raise BadInput(
                f"The latents have shape {tuple(latents.shape)}, but this stream decodes "
                f"(1, {LATENT_CHANNELS}, any, {rows}, {columns}). Start a stream for each size.",
                param="latents",
            )


def _name(stage: int, layer: int) -> str:
    """The published number of a stage's layer."""
    return str(FIRST_STAGE + STAGE_LAYERS * stage + layer)


def load_taehv(file: Path, device: torch.device | str, dtype: torch.dtype) -> Taehv:
    """The decoder of a published file, .pth or .safetensors; the encoder in it is ignored.

    Raises CheckpointError with what does not fit: TAEHV's files for other models have other shapes.
    """
    with torch.device("meta"):
        decoder = Taehv()
    tensors = {
        key: value.to(device, dtype)
        for key, value in _read(file).items()
        if not key.startswith("encoder.")
    }
    if broken := [key for key, value in tensors.items() if not value.isfinite().all()]:
        raise CheckpointError(
            f"{file} has NaN or infinite values in {len(broken)} tensors, {broken[0]} first. "
            "Download taehv.pth from github.com/madebyollin/taehv again."
        )
    try:
        decoder.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{file} is no TAEHV decoder of HunyuanVideo latents. {error} "
            "Use taehv.pth of github.com/madebyollin/taehv."
        ) from error
    decoder.to(memory_format=CHANNELS_LAST)  # type: ignore[call-overload]
    return decoder.eval().requires_grad_(False)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing. Download taehv.pth from github.com/madebyollin/taehv."
        ) from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{file} is no whole file of weights. Copy it again.") from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{file} holds a {type(found).__name__} instead of a state dict. Use taehv.pth of "
            "github.com/madebyollin/taehv."
        )
    return found
