"""Train the built-in audio encoder: `python -m training.train.audio_encoder`.

The encoder learns to predict the true mouth of drawn people from sound alone, through a head that
no stream needs; talking clips are drawn with its predictions (predicted_mouth.py). Its input is
that of a stream: 2 s windows, silence before the start, 82.5 ms of look-ahead. Afterwards the
encoder is frozen, as the released model freezes Whisper.

A run resumes from `training/runs/audio/last.pt`; curves go to `log.jsonl` beside it.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from runtime.audio.features import gather_frames, log_mel
from runtime.models.audio_encoder import TINY, AudioEncoder
from training.data.audio_windows import Batch, TrackPool, held_out_tracks, windows_of_track
from training.data.predicted_mouth import HEAD_WEIGHTS, MouthHead
from training.scores.audio_scores import MouthScores, score_mouth
from training.shipped import load_audio_encoder
from training.voices.mouth_curves import PRESS

RUN_FOLDER = Path("training/runs/audio")
WEIGHTS = Path("runtime/builtin/weights/audio_encoder.safetensors")
COLUMN_WEIGHTS = (3.0, 1.0, 1.0, 3.0, 1.0, 0.7)  # in MOUTH_COLUMNS' order
LATEST_FRAMES = 4  # of a window: the frames that a stream uses
EARLIER_FRAMES = 8  # further frames in the training loss, with a lower weight
EARLIER_WEIGHT = 0.3
_FRAMES_IN_WINDOW = 40
_EMA_DECAY = 0.998


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a training run."""

    seed: int = 1
    iterations: int = 3800
    windows: int = 24
    peak_lr: float = 2e-3
    warmup: int = 200
    tracks: int = 450
    evaluate_every: int = 1000


_DEFAULTS = Recipe()


class Listener(nn.Module):
    """The encoder and its head: windows of sound in, mouths out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AudioEncoder(TINY)
        self.head = MouthHead()

    def latest(self, pcm: Tensor) -> Tensor:
        """Mouths (B, 4, 6) of the last four frames of windows (B, N), as in a stream."""
        mouth: Tensor = self.head(gather_frames(self.encoder(log_mel(pcm)), LATEST_FRAMES))
        return mouth


def loss_of(listener: Listener, batch: Batch, rng: np.random.Generator) -> Tensor:
    """Weighted error of a batch's mouths, plus a term that keeps hidden states at unit power."""
    states = listener.encoder(log_mel(batch.pcm))
    earlier = rng.choice(_FRAMES_IN_WINDOW - LATEST_FRAMES, EARLIER_FRAMES, replace=False)
    latest = np.arange(_FRAMES_IN_WINDOW - LATEST_FRAMES, _FRAMES_IN_WINDOW)
    chosen = torch.from_numpy(np.concatenate([earlier, latest]))
    features = gather_frames(states, _FRAMES_IN_WINDOW)[:, chosen]
    weights = torch.tensor([EARLIER_WEIGHT] * EARLIER_FRAMES + [1.0] * LATEST_FRAMES)
    error = functional.smooth_l1_loss(
        listener.head(features), batch.mouth[:, chosen], beta=0.5, reduction="none"
    )
    pressed = (
        1.0 + 2.0 * batch.mouth[:, chosen, PRESS, None]
    )  # rare and brief, but viewers notice it
    weighted = error * pressed * weights[:, None] * torch.tensor(COLUMN_WEIGHTS)
    power = states.square().mean(dim=(0, 1, 3))
    loss: Tensor = weighted.mean() + 0.003 * power.log().square().mean()
    return loss


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Linear warm-up, then a cosine to a fiftieth of the peak."""
    if iteration < recipe.warmup:
        return recipe.peak_lr * (iteration + 1) / recipe.warmup
    progress = (iteration - recipe.warmup) / max(1, recipe.iterations - recipe.warmup)
    return recipe.peak_lr * (0.02 + 0.98 * 0.5 * (1.0 + float(np.cos(np.pi * min(1.0, progress)))))


@torch.no_grad()
def judge(listener: Listener, seed: int, tracks: int = 8) -> dict[str, MouthScores]:
    """Scores on voices and texts outside training: clean, with noise, and flite's voice alone."""
    scores = {}
    for condition in ("clean", "noisy", "flite"):
        predicted, true = [], []
        for pcm, mouth in held_out_tracks(condition, seed, tracks):
            windows = torch.from_numpy(windows_of_track(pcm))
            mouths = torch.cat([listener.latest(part) for part in torch.split(windows, 64)])
            predicted.append(mouths.flatten(0, 1).numpy())
            true.append(mouth[: len(predicted[-1])])
        scores[condition] = score_mouth(np.concatenate(predicted), np.concatenate(true))
    return scores


@torch.no_grad()
def feature_scale(listener: Listener, pcm: Tensor) -> list[tuple[float, float]]:
    """Mean and standard deviation of every hidden state over windows (B, N)."""
    states = listener.encoder(log_mel(pcm))
    return [
        (round(layer.mean().item(), 3), round(layer.std().item(), 3))
        for layer in states.unbind(dim=2)
    ]


class Trainer:
    """One run: the model, its running mean, the optimiser and the pool of tracks."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.listener = Listener()
        self.mean = copy.deepcopy(self.listener).eval()
        self.optimizer = torch.optim.AdamW(
            [p for p in self.listener.parameters() if p.requires_grad], weight_decay=0.02
        )
        self.pool = TrackPool(recipe.tracks)
        self.iteration = 0
        self.seconds = 0.0

    def begin_as(self, encoder: AudioEncoder) -> None:
        """Start from the weights of a trained encoder; the head is new."""
        for listener in (self.listener, self.mean):
            listener.encoder.load_state_dict(encoder.state_dict())

    def step(self) -> float:
        """One update; the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.iteration)
        batch = self.pool.batch(self.rng, self.recipe.windows, _FRAMES_IN_WINDOW)
        loss = loss_of(self.listener, batch, self.rng)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.listener.parameters(), 1.0)
        self.optimizer.step()
        decay = min(_EMA_DECAY, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            for mean, now in zip(self.mean.parameters(), self.listener.parameters(), strict=True):
                mean.lerp_(now, 1.0 - decay)
        self.iteration += 1
        return loss.item()

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "listener": self.listener.state_dict(),
                "mean": self.mean.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "iteration": self.iteration,
                "seconds": self.seconds,
                "rng": self.rng.bit_generator.state,
            },
            path,
        )

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.listener.load_state_dict(saved["listener"])
        self.mean.load_state_dict(saved["mean"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.iteration, self.seconds = saved["iteration"], saved["seconds"]
        self.rng.bit_generator.state = saved["rng"]


def export(trainer: Trainer, path: Path) -> None:
    """Write the encoder in half precision, with its sizes and scores as JSON beside it."""
    halved = {k: v.half().contiguous() for k, v in trainer.mean.encoder.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(halved, path)
    head = {k: v.half().contiguous() for k, v in trainer.mean.head.state_dict().items()}
    save_file(head, HEAD_WEIGHTS)
    judged = copy.deepcopy(trainer.mean)
    judged.encoder.load_state_dict({k: v.float() for k, v in halved.items()})
    scores = judge(judged, seed=99, tracks=24)
    batch = trainer.pool.batch(trainer.rng, 64, _FRAMES_IN_WINDOW)
    description = {
        "audio_encoder": TINY.to_dict(),
        "made_with": "python -m training.train.audio_encoder "
        f"--iterations {trainer.recipe.iterations} --seed {trainer.recipe.seed}",
        "held_out": {name: asdict(score) for name, score in scores.items()},
        "hidden_state_mean_std": feature_scale(judged, batch.pcm),
        "minutes": round(trainer.seconds / 60, 1),
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n")


def train(trainer: Trainer, run: Path) -> None:
    """Train to the end of the recipe, with logs, checkpoints and scores on the way."""
    recipe, losses = trainer.recipe, list[float]()
    began = time.monotonic() - trainer.seconds
    run.mkdir(parents=True, exist_ok=True)
    trainer.pool.fill(trainer.rng, recipe.tracks // 2)
    while trainer.iteration < recipe.iterations:
        losses.append(trainer.step())
        if trainer.iteration % 20 == 0:
            trainer.pool.refresh(trainer.rng)
        if trainer.iteration % 100 and trainer.iteration != recipe.iterations:
            continue
        trainer.seconds = time.monotonic() - began
        row: dict[str, object] = {
            "iteration": trainer.iteration,
            "seconds": round(trainer.seconds),
            "loss": float(np.mean(losses)),
        }
        losses.clear()
        if trainer.iteration % recipe.evaluate_every == 0:
            row |= {name: asdict(score) for name, score in judge(trainer.mean, seed=5).items()}
        trainer.save(run / "last.pt")
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        typer.echo(json.dumps(row))


def main(
    iterations: int = _DEFAULTS.iterations,
    seed: int = _DEFAULTS.seed,
    run: Annotated[Path, typer.Option(help="Checkpoints and curves.")] = RUN_FOLDER,
    weights: Annotated[Path, typer.Option(help="The file to export the encoder to.")] = WEIGHTS,
    threads: int = 1,
    from_shipped: Annotated[bool, typer.Option(help="Start from the shipped encoder.")] = False,
) -> None:
    """Train the audio encoder, or resume its run; then export it."""
    torch.set_num_threads(threads)
    trainer = Trainer(Recipe(seed=seed, iterations=iterations))
    if from_shipped:
        trainer.begin_as(load_audio_encoder())
    checkpoint = run / "last.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    train(trainer, run)
    export(trainer, weights)


if __name__ == "__main__":
    typer.run(main)
