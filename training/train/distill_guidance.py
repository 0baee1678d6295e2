"""Distill audio guidance into the transformer, so that one call per step is enough.

    python -m training.train.dit && python -m training.train.distill_guidance

If the sound is ambiguous, a transformer of few steps predicts the mean of all possible mouths, and
lips move less than they should. Guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6)
extrapolates from the prediction for silence through the prediction for the sound:

    silent + GUIDANCE * (speaking - silent)

A copy of the exported transformer learns to predict this in one call, as in the distillation of
guided models (Meng et al. 2022, arXiv 2210.03142, section 3.1). Heads, eyes and silent speakers do
not depend on the sound, so guidance does not change them. Resumes if it was stopped.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import torch
import typer
from torch import Tensor

from runtime.audio.features import encode_windows
from runtime.audio.windows import WINDOW_SAMPLES
from runtime.flow_matching import TIMESTEPS
from runtime.models.dit.config import TINY
from runtime.models.dit.dit import DiT
from runtime.weights.checkpoint import load_builtin
from training.data.latent_clips import Windows, WindowSampler
from training.run import Run, pick_device
from training.shipped import WEIGHTS
from training.train.dit import (
    Draws,
    Loss,
    Trained,
    channel_weights,
    export,
    flawed_and_noised,
    learn,
    make_learners,
    place_weights,
)

COMMAND = "python -m training.train.dit && python -m training.train.distill_guidance"
GUIDANCE = 1.4  # mouths then move as far as in the drawings; from 1.6 on they gape


@torch.no_grad()
def guided(teacher: DiT, noisy: Tensor, sigma: Tensor, windows: Windows, silence: Tensor) -> Tensor:
    """The teacher's guided prediction of clean patches (B, T, n, C * patch)."""
    in_silence = replace(windows.cond, audio=silence)
    silent, speaking = (
        teacher.predict_clean(noisy, TIMESTEPS * sigma, cond, windows.tokens)
        for cond in (in_silence, windows.cond)
    )
    return silent + GUIDANCE * (speaking - silent)


def distillation_loss(teacher: DiT, silence: Tensor) -> Loss:
    """The loss of the student against the guided teacher; `silence` (4, steps, layers, width)."""

    def loss(trained: Trained, windows: Windows, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        noisy, sigma = flawed_and_noised(windows, draws), draws.sigma
        audio = windows.cond.audio
        quiet = silence.repeat(audio.shape[2] // len(silence), 1, 1, 1).expand_as(audio)
        target = guided(teacher, noisy, sigma, windows, quiet)
        dit = trained.dit
        out = dit.predict_clean(noisy, TIMESTEPS * sigma, windows.cond, windows.tokens)
        squared = (out - target).square() * channel_weights(dit.config, out.device)
        return (squared.mean(-1) * place_weights(windows)[:, None]).mean(), {}

    return loss


def is_guided(made_with: str) -> bool:
    """Whether the command that made a transformer distilled guidance into it."""
    return "distill_guidance" in made_with


def main(
    steps: int = 260, batch: int = 32, tokens: int = 24, rate: float = 2e-4, eager: bool = False
) -> None:
    """Distill the exported transformer; the options are those of `training.train.dit`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = pick_device()
    torch.set_num_threads(1)
    if is_guided(json.loads((WEIGHTS / "dit.json").read_text())["made_with"]):
        raise typer.BadParameter(
            "The exported transformer is already guided, and guidance must not be applied twice. "
            "Run `python -m training.train.dit` first."
        )
    model = load_builtin()
    teacher = model.dit.to(device)
    trained = Trained().to(device)
    trained.dit.load_state_dict(teacher.state_dict())
    trained.hint.requires_grad_(False)
    run = Run("guided", trained, steps, rate)
    rng = np.random.default_rng(run.step)
    silence = encode_windows(model.audio_encoder, torch.zeros(1, WINDOW_SAMPLES))[0]
    loss = distillation_loss(teacher, silence.to(device))
    prompt = (trained.text_states, trained.pooled_text)
    sampler = WindowSampler(model.autoencoder, TINY, prompt, "train", device, dropping=False)
    students = make_learners(run, trained, sampler, rng, loss, eager)
    for step, values in learn(run, students, rng, batch, tokens, lengths=(3,)):
        if step % 20 == 0:
            run.log(**values)
    export(run, "add", COMMAND)


if __name__ == "__main__":
    typer.run(main)
