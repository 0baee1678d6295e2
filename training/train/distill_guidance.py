"""Guidance by sound, baked into the transformer: two calls a step for the price of one.

    python -m training.train.dit && python -m training.train.distill_guidance

Where the sound leaves a mouth open to doubt, a transformer of few steps gives the mean of all that
could be meant, and lips move less than they should. Guidance (Ho and Salimans 2022, arXiv
2207.12598, equation 6) goes on from what silence would show, past what the sound shows:

    silent + GUIDANCE * (heard - silent)

A copy of the exported transformer learns to give that at once, as in the distillation of guided
models (Meng et al. 2022, arXiv 2210.03142, section 3.1). Heads, eyes and who is silent are left
as they are: they are no different in silence. Goes on where it was stopped.
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
GUIDANCE = 1.4  # mouths then change as much as they are drawn to; from 1.6 on they gape


@torch.no_grad()
def guided(teacher: DiT, noisy: Tensor, sigma: Tensor, windows: Windows, silence: Tensor) -> Tensor:
    """What the teacher says with guidance: clean patches (B, T, n, C * patch)."""
    in_silence = replace(windows.cond, audio=silence)
    silent, heard = (
        teacher.predict_clean(noisy, TIMESTEPS * sigma, cond, windows.tokens)
        for cond in (in_silence, windows.cond)
    )
    return silent + GUIDANCE * (heard - silent)


def distillation_loss(teacher: DiT, silence: Tensor) -> Loss:
    """The pupil's error against the guided teacher; `silence` (4, steps, layers, width)."""

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


def main(
    steps: int = 260, batch: int = 32, tokens: int = 24, rate: float = 2e-4, eager: bool = False
) -> None:
    """Options as of `training.train.dit`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = pick_device()
    torch.set_num_threads(1)
    if json.loads((WEIGHTS / "dit.json").read_text())["made_with"] == COMMAND:
        raise typer.BadParameter(
            "The exported transformer is guided already; train_dit comes first."
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
    pupils = make_learners(run, trained, sampler, rng, loss, eager)
    for step, values in learn(run, pupils, rng, batch, tokens, lengths=(3,)):
        if step % 20 == 0:
            run.log(**values)
    export(run, "add", COMMAND)


if __name__ == "__main__":
    typer.run(main)
