"""The model's own modules as engines: eager, or compiled by torch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from runtime.checkpoint import AvatarModel
from runtime.engine.base import Denoiser, Engines
from runtime.engine.cuda_graph import GraphedDenoiser
from runtime.models.conditioning import StepInputs, WindowInputs
from runtime.models.dit import DiT


def eager(model: AvatarModel) -> Engines:
    """The modules as they are."""
    return Engines(model.dit, model.autoencoder, model.audio_encoder)


def compiled(model: AvatarModel) -> Engines:
    """The denoiser compiled at its first call for that call's shapes; takes about a minute.

    On a GPU a CUDA graph runs what was compiled: fixed addresses, one launch a call. A denoiser
    has one recording, so streams of other shapes need engines of their own.
    """
    denoiser: Denoiser = CompiledDenoiser(model.dit)
    if next(model.dit.parameters()).is_cuda:
        denoiser = GraphedDenoiser(denoiser)
    return replace(eager(model), denoiser=denoiser)


class CompiledDenoiser:
    """`DiT.denoise` through torch.compile, with rotations in real numbers, which it can fuse."""

    def __init__(self, dit: DiT, backend: str = "inductor") -> None:
        self._denoise = torch.compile(dit.denoise, fullgraph=True, dynamic=False, backend=backend)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        if window.rotation.is_complex():
            window = replace(window, rotation=torch.view_as_real(window.rotation))
        out: Tensor = self._denoise(x, step, window)
        return out
