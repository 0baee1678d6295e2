"""A training run: a folder with a resumable checkpoint, logged curves and averaged weights."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

RUNS = Path(__file__).parent / "runs"
logger = logging.getLogger(__name__)


def pick_device() -> str:
    """The device to train on. On a GPU matrix products use TF32, which is precise enough here."""
    if not torch.cuda.is_available():
        return "cpu"
    torch.set_float32_matmul_precision("high")
    return "cuda"


@dataclass
class Run:
    """Optimise `model` for `steps` steps; a second start resumes from the checkpoint.

    The learning rate warms up over 100 steps and falls along a cosine to a twentieth. `averaged`,
    the exponential moving average of the weights, is what ships.
    """

    name: str
    model: nn.Module
    steps: int
    learning_rate: float
    decay: float = 0.998
    weight_decay: float = 0.01
    step: int = 0
    averaged: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = RUNS / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.weight_decay,
            fused=self.parameters[0].is_cuda or None,
        )
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self._started = time.monotonic()
        if self.checkpoint.exists():
            self._resume()
        state = self.model.state_dict()  # shares the weights' memory
        self._floating = [k for k, v in state.items() if v.is_floating_point()]
        self._others = [k for k in state if k not in self._floating]
        self._state = state

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        device = next(self.model.parameters()).device
        self.averaged = {k: v.to(device) for k, v in saved["averaged"].items()}
        self.step = saved["step"]
        logger.info("%s: resumed at step %d", self.name, self.step)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.checkpoint)

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self.step / self.steps)))
        return self.learning_rate * warm * (0.05 + 0.95 * cosine)

    def __iter__(self) -> Iterator[int]:
        """The remaining steps; saves a checkpoint every three minutes and at the end."""
        last_saved = time.monotonic()
        while self.step < self.steps:
            yield self.step
            if time.monotonic() - last_saved > 180:
                self.save()
                last_saved = time.monotonic()
        self.save()

    def update(self, loss: Tensor) -> None:
        """One optimiser step on `loss`."""
        self.apply(torch.autograd.grad(loss, self.parameters, allow_unused=True))

    def apply(self, gradients: Sequence[Tensor | None]) -> None:
        """One optimiser step on gradients in the order of `parameters`, clipped to norm 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self._keep(gradients)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 20))
        for name in self._others:
            self.averaged[name].copy_(self._state[name])
        torch._foreach_lerp_(
            [self.averaged[name] for name in self._floating],
            [self._state[name] for name in self._floating],
            1.0 - decay,
        )

    def _keep(self, gradients: Sequence[Tensor | None]) -> None:
        """Copy gradients, which may be strided or share memory, for the optimiser."""
        kept, given = [], []
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is None:
                parameter.grad = None
                continue
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            kept.append(parameter.grad)
            given.append(gradient)
        torch._foreach_copy_(kept, given)

    def log(self, **values: float | Tensor) -> None:
        """Append the values as one line to log.jsonl."""
        line = {"step": self.step, "seconds": round(time.monotonic() - self._started, 1)}
        line |= {k: round(float(v), 5) for k, v in values.items()}
        logger.info("%s %s", self.name, line)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
