"""Train the built-in video transformer by flow matching on windows of talking clips.

    python -m training.clips && python -m training.train_dit

Resumes from training/runs/dit; exports runtime/builtin/weights/dit.safetensors. Noise levels are
logit-normal (Esser et al. 2024, arXiv 2403.03206, section 3.1), bent towards noise by the shift
that the sampler uses, as the first of few steps decides most; a fifth of the batch is pure noise.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
import typer
from torch import Tensor, nn

from runtime.models.config import TINY
from runtime.models.dit import DiT
from runtime.models.layers import patchify
from runtime.sampler import TIMESTEPS, noised
from training.latent_clips import Windows, WindowSampler, move
from training.run import Run
from training.shipped import load_autoencoder, save_part

COMMAND = "python -m training.clips && python -m training.train_dit"
PROMPT_TOKENS = 2
GRID_TOKENS = 64  # of a 256-pixel picture
FLOW_SHIFT = 3.0
SMALLEST_SIGMA = 0.25  # below it a step's error counts no more than here
MOUTH_WEIGHT, EYE_WEIGHT = 5.0, 2.0
FLAWS = 0.4  # largest share of what moves
WHOLE_SHARE = 0.3  # of the batches see all tokens of the picture, the others mostly faces


class Trained(nn.Module):
    """The transformer and the constant prompt that it is trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.dit = DiT(TINY)
        generator = torch.Generator().manual_seed(0)
        states = torch.randn(1, PROMPT_TOKENS, TINY.text_dim, generator=generator)
        self.text_states: Tensor
        self.pooled_text: Tensor
        self.register_buffer("text_states", states)
        self.register_buffer("pooled_text", torch.zeros(1, TINY.pooled_text_dim))


def draw_sigmas(count: int) -> Tensor:
    """Noise levels (count,) in (0, 1]."""
    even = torch.sigmoid(torch.randn(count))
    sigma = FLOW_SHIFT * even / (1 + (FLOW_SHIFT - 1) * even)
    return torch.where(torch.rand(count) < 0.2, torch.ones(count), sigma)


def flawed(windows: Windows) -> Tensor:
    """Clean latents as a stream really has them: with what it got wrong before.

    A stream's context is its own work. Taught on perfect context, errors would add up over time;
    taught to mend flaws (grain, and traces of another clip's motion) they die out.
    """
    count = len(windows.clean)
    grain, trace = (FLAWS * torch.rand(2, count, 1, 1, 1, 1)).to(windows.clean).unbind(0)
    motion = (windows.clean - windows.cond.ref_latents).roll(1, dims=0)
    return windows.clean + grain * torch.randn_like(windows.clean) + trace * motion


def window_loss(model: DiT, windows: Windows, sigma: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Velocity error (that of the clean latents over sigma squared), mouths and eyes weighted."""
    level = sigma[:, None, None, None, None]
    noise = torch.randn_like(windows.clean)
    noisy = noised(flawed(windows), noise, level)
    out = model.predict_clean(noisy, TIMESTEPS * sigma, windows.cond, windows.tokens)
    target = patchify(windows.clean, model.config.patch_size, windows.tokens)
    still = patchify(windows.cond.ref_latents, model.config.patch_size, windows.tokens)
    error = (out - target).square().mean(-1)  # (B, T, n)
    weight = 1 + MOUTH_WEIGHT * windows.mouth + EYE_WEIGHT * windows.eyes
    by_sigma = sigma.clamp(min=SMALLEST_SIGMA).square().reciprocal()
    loss = (error * weight[:, None] * by_sigma[:, None, None]).mean()
    moved = (still - target).square().mean(-1)
    return loss, {
        "mouth": _share(error, moved, windows.mouth, sigma),
        "eyes": _share(error, moved, windows.eyes, sigma),
    }


def _share(error: Tensor, moved: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
    """Error left at high noise, as a share of what a still picture would leave."""
    pick = (sigma > 0.9)[:, None, None] * where[:, None]
    return (error * pick).sum() / (moved * pick).sum().clamp(min=1e-6)


@torch.no_grad()
def gates(model: DiT, sampler: WindowSampler, device: str) -> dict[str, float]:
    """Held-out measures at pure noise: error shares of mouths and eyes, and what conditions do."""
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    result: dict[str, float] = {}
    for people in (1, 2):
        if not sampler.clips[people]:
            continue
        windows = move(sampler.batch(rng, 32, people, 3, GRID_TOKENS), device)
        _, parts = window_loss(model, windows, torch.ones(32, device=device))
        result |= {f"test_{k}{people}": v.item() for k, v in parts.items()}
    return result


def export(run: Run) -> None:
    tensors = {k.removeprefix("dit."): v for k, v in run.averaged.items() if k.startswith("dit.")}
    tensors |= {f"prompt.{k}": run.averaged[k][0] for k in ("text_states", "pooled_text")}
    save_part("dit", tensors, TINY.to_dict(), COMMAND)


def main(
    steps: int = 6000, batch: int = 16, tokens: int = 40, threads: int = 2, rate: float = 1e-3
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = Trained().to(device)
    run = Run("dit", trained, steps, rate)
    torch.manual_seed(run.step)
    rng = np.random.default_rng(run.step)
    prompt = (trained.text_states.cpu(), trained.pooled_text.cpu())
    autoencoder = load_autoencoder()
    train, test = (WindowSampler(autoencoder, TINY, prompt, s) for s in ("train", "test"))
    for step in run:
        people = 1 if rng.random() < 0.7 else 2
        frames = int(rng.choice([1, 3, 3, 3, 3]))
        count = max(2, round(batch * 4 / (frames + 1)))
        kept = GRID_TOKENS if rng.random() < WHOLE_SHARE else tokens
        windows = move(train.batch(rng, count, people, frames, kept), device)
        loss, parts = window_loss(trained.dit, windows, draw_sigmas(count).to(device))
        run.update(loss)
        if step % 50 == 0:
            run.log(loss=loss.item(), **{k: v.item() for k, v in parts.items()})
        if step % 300 == 299:
            shipped = Trained().to(device)
            shipped.load_state_dict(run.averaged)
            run.log(**gates(shipped.dit, test, device))
            export(run)
    export(run)


if __name__ == "__main__":
    typer.run(main)
