"""Guidance by sound, baked into the transformer: two calls a step for the price of one.

    python -m training.train_dit && python -m training.distill_guidance

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
import typer
from torch import Tensor, nn

from runtime.audio_features import WINDOW_SAMPLES, AudioFeatures
from runtime.checkpoint import load_builtin
from runtime.models.config import TINY
from runtime.models.dit import DiT
from runtime.sampler import TIMESTEPS
from training.latent_clips import Windows, WindowSampler, move
from training.run import Run
from training.shipped import WEIGHTS
from training.train_dit import (
    GRID_TOKENS,
    WHOLE_SHARE,
    Trained,
    channel_weights,
    draw_sigmas,
    export,
    flawed_and_noised,
    place_weights,
)

COMMAND = "python -m training.train_dit && python -m training.distill_guidance"
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


@dataclass
class Pupil:
    """Gradients of one share of a batch; pupils of several threads share the models."""

    trained: Trained
    teacher: DiT
    parameters: list[nn.Parameter]
    sampler: WindowSampler
    rng: np.random.Generator
    silence: Tensor  # (4, steps, layers, width)

    def gradients(
        self, people: int, frames: int, count: int, tokens: int
    ) -> tuple[tuple[Tensor | None, ...], float]:
        device = self.silence.device
        windows = move(self.sampler.batch(self.rng, count, people, frames, tokens), str(device))
        sigma = draw_sigmas(count).to(device)
        noisy = flawed_and_noised(self.rng, windows, sigma)
        silence = self.silence.repeat(frames, 1, 1, 1).expand_as(windows.cond.audio)
        target = guided(self.teacher, noisy, sigma, windows, silence)
        dit = self.trained.dit
        out = dit.predict_clean(noisy, TIMESTEPS * sigma, windows.cond, windows.tokens)
        squared = (out - target).square() * channel_weights(dit.config).to(out)
        loss = (squared.mean(-1) * place_weights(windows)[:, None]).mean()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return gradients, loss.item()


def main(steps: int = 260, batch: int = 32, tokens: int = 24, rate: float = 2e-4) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shares = 1 if device == "cuda" else 2  # a core each, as in train_dit
    torch.set_num_threads(1)
    if json.loads((WEIGHTS / "dit.json").read_text())["made_with"] == COMMAND:
        raise typer.BadParameter(
            "The exported transformer is guided already; train_dit comes first."
        )
    model = load_builtin()
    teacher = model.dit.to(device)
    trained = Trained().to(device)
    trained.dit.load_state_dict(teacher.state_dict())
    run = Run("guided", trained, steps, rate)
    rng = np.random.default_rng(run.step)
    torch.manual_seed(run.step)
    silence = AudioFeatures(model.audio_encoder).encode(torch.zeros(1, WINDOW_SAMPLES))[0]
    prompt = (trained.text_states.cpu(), trained.pooled_text.cpu())
    sampler = WindowSampler(model.autoencoder, TINY, prompt, "train", dropping=False)
    pupils = [
        Pupil(trained, teacher, run.parameters, sampler, r, silence.to(device))
        for r in rng.spawn(shares)
    ]
    with ThreadPoolExecutor(shares, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for step in run:
            people = 1 if rng.random() < 0.7 else 2
            kept = GRID_TOKENS if rng.random() < WHOLE_SHARE else tokens
            work = [pool.submit(p.gradients, people, 3, batch // shares, kept) for p in pupils]
            results = [w.result() for w in work]
            run.apply(
                [
                    None if one is None else torch.stack([one, *others]).mean(0)
                    for one, *others in zip(*(r[0] for r in results), strict=True)
                ]
            )
            if step % 20 == 0:
                run.log(loss=results[0][1])
    export(run, "add", COMMAND)


if __name__ == "__main__":
    typer.run(main)
