"""Train the built-in video transformer by flow matching on windows of talking clips.

    python -m training.data.clips && python -m training.train.dit

Resumes from training/runs/dit; exports runtime/builtin/weights/dit.safetensors. Noise levels are
logit-normal (Esser et al. 2024, arXiv 2403.03206, section 3.1), moved towards noise by the
sampler's flow shift. The first of few steps decides most, so much of a batch is pure noise.

The paper's ablation of image injection (`runtime.models.dit.image_injection`) is two more runs,

    python -m training.train.dit --injection token
    python -m training.train.dit --injection channel

which write curves, checkpoint and a model folder to training/runs/dit-token and dit-channel.
Compare the gates in the three log.jsonl at the same step (test_mouth1 and so on: the error as a
share of the error of a still image), and the pixels with `python -m benchmarks quality --model
training/runs/dit-token/model`. This model predicts a change to the reference image, so every
variant has the image, and the variants differ in how well they place the change. In the paper, as
with prediction = "velocity", the injection alone carries the identity.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import CheckpointError
from runtime.flow_matching import TIMESTEPS
from runtime.models.dit.config import TINY, DiTConfig, Injection
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import patchify
from runtime.timing import FRAMES_PER_LATENT
from runtime.weights.checkpoint import fill
from training.data.latent_clips import Windows, WindowSampler
from training.run import Run, pick_device
from training.shipped import WEIGHTS, load_autoencoder, save_part, share_parts
from training.train.autoencoder import MOUTH_COMPONENTS
from training.train.step_graphs import StepGraphs
from training.voices.mouth_curves import MOUTH_COLUMNS

COMMAND = "python -m training.data.clips && python -m training.train.dit"
PROMPT_TOKENS = 2
GRID_TOKENS = 64  # of a 256-pixel picture
FLOW_SHIFT = 3.0
PURE_NOISE = 0.6  # the share of a batch at sigma 1, where the first of few steps begins
SMALLEST_SIGMA = 0.5  # the weight of an error does not grow below this sigma
MOUTH_WEIGHT, EYE_WEIGHT = 10.0, 2.0
FINE_WEIGHT = 5.0  # of the channels for mouth motion within a latent frame: small but visible
HINT_WEIGHT = 2.0  # the hint is then a tenth of the loss at first, and soon less
FLAWS = 0.4  # at most, as a share of the motion
WHOLE_SHARE = 0.2  # of the batches use all tokens of the frame, the others mostly faces


class Trained(nn.Module):
    """The transformer, its constant prompt, and an auxiliary head (`hint`) that does not ship.

    The attention of an audio adapter gives about the mean of a latent frame's audio tokens. `hint`
    reads the four mouths from that mean, so the tokens learn early to keep the frames apart.
    """

    def __init__(self, injection: Injection = "add") -> None:
        super().__init__()
        self.dit = DiT(replace(TINY, injection=injection))
        self.hint = nn.Linear(TINY.hidden_size, FRAMES_PER_LATENT * len(MOUTH_COLUMNS))
        generator = torch.Generator().manual_seed(0)
        states = torch.randn(1, PROMPT_TOKENS, TINY.text_dim, generator=generator)
        self.text_states: Tensor
        self.pooled_text: Tensor
        self.register_buffer("text_states", states)
        self.register_buffer("pooled_text", torch.zeros(1, TINY.pooled_text_dim))


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of a batch of windows."""

    sigma: Tensor  # (B,): noise levels in (0, 1]
    noise: Tensor  # (B, C, T, h, w), standard normal
    grain: Tensor  # (B,): flaws of the clean latents, 0 .. FLAWS
    trace: Tensor  # (B,)


def draw(generator: torch.Generator, clean: Tensor) -> Draws:
    """Noise levels, noise and flaws for clean latents (B, C, T, h, w), on their device."""
    count, device = len(clean), clean.device
    even = torch.sigmoid(torch.randn(count, generator=generator, device=device))
    sigma = FLOW_SHIFT * even / (1 + (FLOW_SHIFT - 1) * even)
    pure, grain, trace = torch.rand(3, count, generator=generator, device=device)
    noise = torch.randn(clean.shape, generator=generator, device=device)
    return Draws(sigma.masked_fill(pure < PURE_NOISE, 1.0), noise, FLAWS * grain, FLAWS * trace)


def flawed_and_noised(windows: Windows, draws: Draws) -> Tensor:
    """Latents (B, C, T, h, w) at noise levels, from flawed clean ones.

    In a stream the context is the model's own output. A model that has only seen perfect context
    would let errors grow over time. One that has learnt to correct flaws (grain, and traces of the
    motion of another clip) lets them fade.
    """
    clean = windows.clean
    level, grain, trace = (
        amount[:, None, None, None, None] for amount in (draws.sigma, draws.grain, draws.trace)
    )
    motion = (clean - windows.cond.ref_latents).roll(1, dims=0)
    spread = (level.square() + ((1 - level) * grain).square()).sqrt()  # of noise and grain
    return (1 - level) * (clean + trace * motion) + spread * draws.noise


def window_loss(
    trained: Trained, windows: Windows, draws: Draws
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and curves to log.

    The loss is the velocity error (the error of the clean latents over sigma squared), with mouths
    and eyes weighted, plus the hint's error. The curves are errors as a share of a still image's
    error (mouths, eyes, the channels for mouths) and the hint's error as a share of the mouths.
    """
    model, sigma = trained.dit, draws.sigma
    noisy = flawed_and_noised(windows, draws)
    out = model.predict_clean(noisy, TIMESTEPS * sigma, windows.cond, windows.tokens)
    target = patchify(windows.clean, model.config.patch_size, windows.tokens)
    still = patchify(windows.cond.ref_latents, model.config.patch_size, windows.tokens)
    squared = (out - target).square()
    error = squared.mean(-1)  # (B, T, n)
    weight = place_weights(windows)
    by_sigma = sigma.clamp(min=SMALLEST_SIGMA).square().reciprocal()
    weighted = (squared * channel_weights(model.config, squared.device)).mean(-1)
    loss = (weighted * weight[:, None] * by_sigma[:, None, None]).mean()
    moved = (still - target).square().mean(-1)
    hint = hint_error(trained, windows)
    return loss + HINT_WEIGHT * hint, {
        "mouth": _share(error, moved, windows.mouth, sigma),
        "eyes": _share(error, moved, windows.eyes, sigma),
        "fine": _share(fine(squared), fine((still - target).square()), windows.mouth, sigma),
        "hint": hint / windows.drawn_mouths.square().mean().clamp(min=1e-6),
    }


def hint_error(trained: Trained, windows: Windows) -> Tensor:
    """Mean squared error of the mouths that are read from the mean audio token."""
    tokens = trained.dit.embed_audio(windows.cond, windows.clean.shape[2])
    sound = tokens[:, :, :, : FRAMES_PER_LATENT * TINY.audio_tokens]
    return functional.mse_loss(trained.hint(sound.mean(3)), windows.drawn_mouths)


def fine(patches: Tensor) -> Tensor:
    """Mean (B, T, n) over the mouth channels of patches (B, T, n, C * patch)."""
    return torch.unflatten(patches, -1, (TINY.out_channels, -1))[..., -MOUTH_COMPONENTS:, :].mean(
        (-2, -1)
    )


def place_weights(windows: Windows) -> Tensor:
    """The weight of an error at each token, (B, n)."""
    return 1 + MOUTH_WEIGHT * windows.mouth + EYE_WEIGHT * windows.eyes


def channel_weights(config: DiTConfig, device: torch.device) -> Tensor:
    """The weight of an error in each value of a patch, (C * patch,)."""
    weights = torch.ones(config.out_channels, device=device)
    weights[-MOUTH_COMPONENTS:] = FINE_WEIGHT
    return weights.repeat_interleave(config.patch_values // config.out_channels)


def _share(error: Tensor, moved: Tensor, where: Tensor, sigma: Tensor) -> Tensor:
    """The error at high noise, as a share of the error of a still image."""
    pick = (sigma > 0.9)[:, None, None] * where[:, None]
    return (error * pick).sum() / (moved * pick).sum().clamp(min=1e-6)


@torch.no_grad()
def gates(trained: Trained, sampler: WindowSampler) -> dict[str, Tensor]:
    """The curves of `window_loss` at pure noise, on held-out speech."""
    generator = torch.Generator(sampler.device).manual_seed(7)
    result: dict[str, Tensor] = {}
    for people in (1, 2):
        windows = sampler.batch(generator, 32, people, 3, GRID_TOKENS)
        draws = draw(generator, windows.clean)
        _, parts = window_loss(trained, windows, replace(draws, sigma=torch.ones_like(draws.sigma)))
        result |= {f"test_{k}{people}": v for k, v in parts.items()}
    return result


Loss = Callable[[Trained, Windows, Draws], tuple[Tensor, dict[str, Tensor]]]
Gradients = tuple[tuple[Tensor, ...], dict[str, Tensor]]


@dataclass
class Learner:
    """Computes gradients of one share of a batch; learners in several threads share the model.

    On a GPU each step is a graph (`StepGraphs`), unless `eager`.
    """

    trained: Trained
    parameters: list[nn.Parameter]
    sampler: WindowSampler
    generator: torch.Generator
    loss: Loss = window_loss
    eager: bool = False

    def __post_init__(self) -> None:
        graphs = self.sampler.device != "cpu" and not self.eager
        self._step: Callable[[Windows, Draws], Gradients]
        self._step = StepGraphs(self.step) if graphs else self.step

    def gradients(self, people: int, frames: int, count: int, tokens: int) -> Gradients:
        """Gradients and curves of a new batch; both are valid until the next call."""
        windows = self.sampler.batch(self.generator, count, people, frames, tokens)
        return self._step(windows, draw(self.generator, windows.clean))

    def step(self, windows: Windows, draws: Draws) -> Gradients:
        loss, parts = self.loss(self.trained, windows, draws)
        values = {k: v.detach() for k, v in ({"loss": loss} | parts).items()}
        return torch.autograd.grad(loss, self.parameters), values


def make_learners(
    run: Run,
    trained: Trained,
    sampler: WindowSampler,
    rng: np.random.Generator,
    loss: Loss = window_loss,
    eager: bool = False,
) -> list[Learner]:
    """One on a GPU. On a CPU two: a core each for small matrices is faster than both for one."""
    shares = 2 if sampler.device == "cpu" else 1
    seeds = rng.integers(2**62, size=shares)
    generators = [torch.Generator(sampler.device).manual_seed(int(seed)) for seed in seeds]
    return [Learner(trained, run.parameters, sampler, g, loss, eager) for g in generators]


def learn(
    run: Run,
    learners: list[Learner],
    rng: np.random.Generator,
    batch: int,
    tokens: int,
    lengths: Sequence[int],
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Take the remaining steps; yields each step's number and curves.

    A step has `batch` windows of one of `lengths` latent frames and `tokens` of the grid.
    """
    shares = len(learners)
    with ThreadPoolExecutor(shares, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for step in run:
            people = 1 if rng.random() < 0.7 else 2
            frames = int(rng.choice(lengths))
            count = max(2, round(batch / shares * 4 / (frames + 1)))
            kept = GRID_TOKENS if rng.random() < WHOLE_SHARE else tokens
            work = [pool.submit(each.gradients, people, frames, count, kept) for each in learners]
            results = [w.result() for w in work]
            run.apply(mean([gradients for gradients, _ in results]))
            yield step, results[0][1]


def mean(shares: list[tuple[Tensor, ...]]) -> Sequence[Tensor]:
    """The mean of the shares' gradients."""
    if len(shares) == 1:
        return shares[0]
    return [torch.stack(parts).mean(0) for parts in zip(*shares, strict=True)]


def take_weights(trained: Trained, file: Path) -> None:
    """Load a file's weights "dit.*" and, if there are any, "hint.*"; or an exported transformer."""
    weights = {k: v.float() for k, v in load_file(file).items() if not k.startswith("prompt.")}
    hint = {k.removeprefix("hint."): v for k, v in weights.items() if k.startswith("hint.")}
    dit = {k.removeprefix("dit."): v for k, v in weights.items() if not k.startswith("hint.")}
    try:
        fill(trained.dit, dit, file)
        if hint:
            fill(trained.hint, hint, file)
    except CheckpointError as error:
        raise typer.BadParameter(
            f"A run cannot begin with these weights. {error} Or give the weights of a transformer "
            "of the present sizes."
        ) from error


def open_run(
    injection: Injection,
    steps: int,
    rate: float,
    device: str,
    start: Path | None = None,
    decay: float = 0.998,
) -> tuple[Trained, Run]:
    """The model and its run; a variant has its own run folder."""
    trained = Trained(injection)
    if start is not None:
        take_weights(trained, start)
    trained.to(device)
    name = "dit" if injection == "add" else f"dit-{injection}"
    return trained, Run(name, trained, steps, rate, decay)


def export(run: Run, injection: Injection, command: str = COMMAND) -> Path:
    """Write the averaged weights; returns the built-in folder, or the model folder of a variant."""
    tensors = {k.removeprefix("dit."): v for k, v in run.averaged.items() if k.startswith("dit.")}
    tensors |= {f"prompt.{k}": run.averaged[k][0] for k in ("text_states", "pooled_text")}
    sizes = replace(TINY, injection=injection).to_dict()
    if injection == "add":
        save_part("dit", tensors, sizes, command)
        return WEIGHTS
    folder = run.folder / "model"
    save_part("dit", tensors, sizes, f"{COMMAND} --injection {injection}", folder)
    share_parts(folder)
    return folder


def main(
    steps: int = 12000,
    batch: int = 32,
    tokens: int = 24,
    rate: float = 1e-3,
    decay: float = 0.998,
    injection: Injection = "add",
    start_from: Path | None = None,
    check_every: int = 300,
    eager: bool = False,
) -> None:
    """Train with `batch` windows a step, of `tokens` grid tokens each, faces first.

    `decay` is the decay of the averaged weights. `start_from` is a file of weights for a new run
    to begin with. Every `check_every` steps held-out speech is scored. `eager` turns CUDA graphs
    off. On a large GPU try a batch of 256 and a decay of 0.999.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    device = pick_device()
    torch.set_num_threads(1)
    trained, run = open_run(injection, steps, rate, device, start_from, decay)
    rng = np.random.default_rng(run.step)
    prompt = (trained.text_states, trained.pooled_text)
    autoencoder = load_autoencoder()
    train, test = (WindowSampler(autoencoder, TINY, prompt, s, device) for s in ("train", "test"))
    learners = make_learners(run, trained, train, rng, eager=eager)
    scored = Trained(injection).to(device)
    for step, values in learn(run, learners, rng, batch, tokens, lengths=(1, 3, 3, 3, 3)):
        if step % 50 == 0:
            run.log(**values)
        if (step + 1) % check_every == 0:
            scored.load_state_dict(run.averaged)
            run.log(**gates(scored, test))
            export(run, injection)
    export(run, injection)


if __name__ == "__main__":
    typer.run(main)
