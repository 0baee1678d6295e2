"""A model from its folder: one of our own format, a released one, or the built-in model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.character.character import Character
from runtime.errors import BadInput, Unsupported
from runtime.stream.model import StreamModel
from runtime.stream.presets import is_released
from runtime.weights.checkpoint import load, load_builtin


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Options of a released folder that streams; see `runtime.hunyuan.live.model`."""

    precision: str = "fp32"
    decoder: Path | None = None
    embeddings: Path | None = None
    blocks_on_device: bool = True
    characters: tuple[Character, ...] = ()  # their prompts are encoded before the model is loaded


def load_on(
    folder: Path | None, device: torch.device, options: LiveOptions = LiveOptions()
) -> StreamModel:
    """The model on a device; None is the built-in model.

    Unsupported if there is no such device; BadInput or CheckpointError if the folder does not fit.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unsupported(f"There is no NVIDIA GPU here for {device}. Use cpu.")
    if folder is not None and is_released(folder):
        return _load_released(folder, device, options)
    if options.decoder is not None:
        raise BadInput(
            f"The decoder {options.decoder} does not apply: only a released folder takes one. "
            "Leave --decoder out.",
            param="decoder",
        )
    return (load_builtin() if folder is None else load(folder)).to(device)


def _load_released(folder: Path, device: torch.device, options: LiveOptions) -> StreamModel:
    from runtime.hunyuan.live.model import LiveChoice, load_live, precision_named

    choice = LiveChoice(
        folder,
        device,
        precision_named(options.precision),
        options.decoder,
        options.embeddings,
        options.blocks_on_device,
    )
    return load_live(choice, options.characters)
