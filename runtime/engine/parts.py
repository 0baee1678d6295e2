"""The parts into which the denoiser is cut, one engine each, and the names of their tensors.

A small model is one part, "denoiser". A large one is a prologue (patches to tokens), its double
blocks, its single blocks and an epilogue (tokens to latents), with one or more blocks an engine.
Parts up to the last double block pass on `img` and `txt`, later ones `hidden`.

Shapes are static. RoPE, face masks and all AdaLN outputs ("modulation") are inputs, so an engine
contains neither the weights nor the code that compute them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.errors import Unsupported
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.config import DiTConfig

PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Everything that decides the shapes of a denoiser call."""

    latent_frames: int
    speakers: int
    rows: int  # of latents, not of tokens
    columns: int
    text_tokens: int
    batch: int = 1
    kept_tokens: int | None = None  # active tokens of a latent frame; None: all are active

    def __str__(self) -> str:
        return (
            f"{self.latent_frames} latent frames, {self.speakers} speakers, "
            f"{self.columns} x {self.rows} latents, {self.text_tokens} text tokens"
            + (f", {self.kept_tokens} tokens of the picture" if self.kept_tokens else "")
            + (f", batches of {self.batch}" if self.batch > 1 else "")
        )


@dataclass(frozen=True, slots=True)
class DenoiserPart:
    """Consecutive blocks of the denoiser, with or without its two ends."""

    name: str
    double: range
    single: range
    prologue: bool = False
    epilogue: bool = False

    def outputs(self, config: DiTConfig) -> tuple[str, ...]:
        """Names of the outputs; the next part reads each under its name without "_out"."""
        if self.epilogue:
            return (PREDICTION,)
        if self.single or self.double.stop == config.double_blocks:
            return ("hidden_out",)
        return ("img_out", "txt_out") if self.double else ("img_out",)

    def inputs(self, config: DiTConfig) -> tuple[str, ...]:
        """Names of the inputs, in a fixed order. A model with an emotion module always reads it."""
        names = ["latents", "reference", "injected"] if self.prologue else []
        if self.double:
            names += ["txt"] if self.prologue else ["img", "txt"]
        elif self.single or self.epilogue:
            names.append("hidden")
        if self.double or self.single:
            names.append("rotation")
        adapters = [index // 2 for index in self.double if index % 2 == 1]
        if adapters:
            names += ["masks", "emotion_masks"] if config.emotion else ["masks"]
        for index in adapters:
            names.append(f"audio_{index:02}")
            if config.emotion:
                names.append(f"emotion_{index:02}")
        for index in self.double:
            names += [f"double_{index:02}_img_mod", f"double_{index:02}_txt_mod"]
        names += [f"single_{index:02}_mod" for index in self.single]
        return (*names, "final_mod") if self.epilogue else tuple(names)


def whole(config: DiTConfig) -> tuple[DenoiserPart, ...]:
    """The denoiser in one engine."""
    blocks = range(config.double_blocks), range(config.single_blocks)
    return (DenoiserPart("denoiser", *blocks, prologue=True, epilogue=True),)


def in_blocks(config: DiTConfig, per_part: int = 1) -> tuple[DenoiserPart, ...]:
    """The denoiser as a prologue, chunks of `per_part` blocks and an epilogue."""
    none = range(0)
    chunks = [
        DenoiserPart(_name("double", chunk), chunk, none)
        for chunk in _cut(config.double_blocks, per_part)
    ]
    chunks += [
        DenoiserPart(_name("single", chunk), none, chunk)
        for chunk in _cut(config.single_blocks, per_part)
    ]
    first = DenoiserPart("prologue", none, none, prologue=True)
    last = DenoiserPart("epilogue", none, none, epilogue=True)
    return (first, *chunks, last)


def as_next_inputs(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A part's outputs under the names by which the next part reads them."""
    return {name.removesuffix("_out"): value for name, value in outputs.items()}


def _cut(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _name(kind: str, chunk: range) -> str:
    last = f"_{chunk[-1]:02}" if len(chunk) > 1 else ""
    return f"{kind}_{chunk[0]:02}{last}"


def named_values(x: Tensor, step: StepInputs, window: WindowInputs) -> dict[str, Tensor]:
    """The tensors of a call of `denoise` under the names of parts' inputs; nothing is copied."""
    if step.text_mask is not None or window.tokens is not None:
        raise Unsupported(
            "An engine takes no padding of the text and no subset of tokens. Leave the padding "
            "out; to train on a subset, use torch."
        )
    values = {
        "latents": x,
        "txt": step.text,
        "final_mod": step.final,
        "reference": window.reference,
        "injected": window.injected,
        "rotation": torch.view_as_real(window.rotation),
        "masks": window.masks,
    }
    if window.emotion_masks is not None:
        values["emotion_masks"] = window.emotion_masks
    values |= {f"audio_{i:02}": keys for i, keys in enumerate(window.audio)}
    values |= {f"emotion_{i:02}": keys for i, keys in enumerate(window.emotion)}
    values |= {f"single_{i:02}_mod": modulation for i, modulation in enumerate(step.single)}
    for i, (img, txt) in enumerate(step.double):
        values |= {f"double_{i:02}_img_mod": img, f"double_{i:02}_txt_mod": txt}
    return values
