"""A model from its folder: ours, a released one, or the built-in model where no folder is named."""

from __future__ import annotations

from pathlib import Path

import torch

from runtime.errors import BadInput, Unsupported
from runtime.hunyuan.live.options import DEFAULT_OPTIONS, LiveOptions
from runtime.stream.model import StreamModel
from runtime.stream.presets import is_released
from runtime.weights.checkpoint import load, load_builtin

__all__ = ["LiveOptions", "load_on"]


def load_on(
    folder: Path | None, device: torch.device, options: LiveOptions = DEFAULT_OPTIONS
) -> StreamModel:
    """The model on a device. Unsupported if that is not here, BadInput, CheckpointError."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unsupported(f"No NVIDIA GPU is here, found {device} asked for. Use cpu.")
    if folder is not None and is_released(folder):
        from runtime.hunyuan.live.model import load_live

        return load_live(folder, device, options)
    if options.decoder is not None:
        raise BadInput(
            f"{options.decoder} was named as decoder; only a released folder takes one. Leave "
            "--decoder out.",
            param="decoder",
        )
    return (load_builtin() if folder is None else load(folder)).to(device)
