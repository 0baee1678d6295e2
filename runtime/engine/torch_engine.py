"""The model's own modules as engines: eager, or compiled by torch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from runtime.checkpoint import AvatarModel
from runtime.engine.base import Engines
from runtime.models.conditioning import StepInputs, WindowInputs
from runtime.models.dit import DiT


def eager(model: AvatarModel) -> Engines:
    """The modules as they are."""
    return Engines(model.dit, model.autoencoder, model.audio_encoder)


def compiled(model: AvatarModel) -> Engines:
    """The denoiser compiled at its first call for that call's shapes; takes about a minute.

    On a GPU the compiler's CUDA graphs run it: fixed addresses, one launch a call.
    """
    return replace(eager(model), denoiser=CompiledDenoiser(model.dit))


class CompiledDenoiser:
    """`DiT.denoise` through torch.compile, with rotations in real numbers, which it can fuse."""

    def __init__(self, dit: DiT) -> None:
        on_gpu = next(dit.parameters()).is_cuda
        self._denoise = torch.compile(
            dit.denoise,
            fullgraph=True,
            dynamic=False,
            mode="reduce-overhead" if on_gpu else "default",
        )
        self._on_gpu = on_gpu

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        if window.rotation.is_complex():
            window = replace(window, rotation=torch.view_as_real(window.rotation))
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        out: Tensor = self._denoise(x, step, window)
        return out.clone() if self._on_gpu else out  # the graph writes its output anew each call
