"""A model from its folder: one of our own format, a released one, or the built-in model."""

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
    """The model on a device; None is the built-in model.

    Unsupported if there is no such device; BadInput or CheckpointError if the folder does not fit.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unsupported(f"There is no NVIDIA GPU here for {device}. Use cpu.")
    if folder is not None and is_released(folder):
        from runtime.hunyuan.live.model import load_live

        return load_live(folder, device, options)
    if options.decoder is not None:
        raise BadInput(
            f"The decoder {options.decoder} does not apply: only a released folder takes one. "
            "Leave --decoder out.",
            param="decoder",
        )
    return (load_builtin() if folder is None else load(folder)).to(device)
