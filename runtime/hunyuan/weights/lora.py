"""LoRA files for the video transformer, merged into its weights at loading.

A LoRA changes some linear layers: `weight += strength * alpha / rank * up @ down` (arXiv
2106.09685). kohya stores alpha in the file; PEFT and diffusers in `adapter_config.json` beside it
or in its metadata. Without any, alpha is the rank.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from runtime.errors import CheckpointError, Unsupported
from runtime.hunyuan.tensor_file import map_safetensors, read_header, read_json
from runtime.hunyuan.weights.lora_names import Half, Layer, find_layer, split_ending
from runtime.models.dit.config import DiTConfig
from runtime.weights.fit import shown

METADATA_KEY = "lora_adapter_metadata"  # of diffusers


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA file (safetensors) and its strength: 0 has no effect, below 0 the opposite one."""

    file: Path
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Update:
    """A LoRA's addition to rows [start, stop) of a layer's weight: scale * up @ down."""

    start: int
    stop: int
    down: Tensor
    up: Tensor
    scale: float

    def add_to(self, weight: Tensor) -> None:
        """Adds to a float32 weight (out, in) in place."""
        rows = weight[self.start : self.stop]
        rows.addmm_(self.up.float(), self.down.float(), alpha=self.scale)


Updates = Mapping[str, list[Update]]  # by the layer's name


def read_loras(loras: Iterable[Lora], model: nn.Module, config: DiTConfig) -> Updates:
    """The updates of `loras` to the linears of `model`, which may be on the meta device.

    CheckpointError names the keys that fit no linear.
    """
    linears = {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if hasattr(module, "in_features")
    }
    updates: dict[str, list[Update]] = {}
    for lora in loras:
        for module, update in read_lora(lora, linears, config.hidden_size):
            updates.setdefault(module, []).append(update)
    return updates


def read_lora(
    lora: Lora, linears: Mapping[str, tuple[int, int]], hidden_size: int
) -> list[tuple[str, Update]]:
    """The updates of one file and the layers that they belong to."""
    stored = map_safetensors(lora.file)
    alpha_of = Alpha.beside(lora.file)
    updates, problems = [], []
    for name, halves in by_layer(stored).items():
        layer = find_layer(name, linears)
        if layer is None or not {"down", "up"} <= set(halves):
            problems.append(name)
            continue
        down, up = halves["down"], halves["up"]
        start, stop = rows_of(layer, linears[layer.module][0], hidden_size)
        rank, expected = down.shape[0], (stop - start, linears[layer.module][1])
        if (up.shape, down.shape) != ((expected[0], rank), (rank, expected[1])):
            problems.append(
                f"{name} ({tuple(up.shape)} @ {tuple(down.shape)} instead of {expected})"
            )
            continue
        own_alpha = float(halves["alpha"]) if "alpha" in halves else None
        scale = lora.strength * alpha_of.scale(rank, own_alpha)
        updates.append((layer.module, Update(start, stop, down, up, scale)))
    if problems or not updates:
        raise CheckpointError(
            f"{lora.file} is no LoRA for this model. {len(problems)} of its layers do not fit: "
            f"{shown(problems)}. Use one that was trained on HunyuanVideo, in kohya's, diffusers' "
            "or PEFT's naming."
        )
    return updates


def by_layer(stored: Mapping[str, Tensor]) -> dict[str, dict[Half, Tensor]]:
    """The halves of every layer; a key with another ending is a layer without halves."""
    layers: dict[str, dict[Half, Tensor]] = {}
    for key, tensor in stored.items():
        split = split_ending(key)
        if split is None:
            layers[key] = {}
        else:
            layers.setdefault(split[0], {})[split[1]] = tensor
    return layers


def rows_of(layer: Layer, out_features: int, hidden_size: int) -> tuple[int, int]:
    """The rows [start, stop) of our weight that a layer of the file changes."""
    stop = out_features if layer.stop is None else layer.stop * hidden_size
    return layer.start * hidden_size, stop


@dataclass(frozen=True, slots=True)
class Alpha:
    """The alpha of a whole file, which scales its updates."""

    alpha: float | None = None
    by_root: bool = False  # rank-stabilised: divided by the square root of the rank

    @classmethod
    def beside(cls, file: Path) -> Alpha:
        """From `adapter_config.json` (PEFT) or the file's metadata (diffusers), if there are any.

        Unsupported if the description has different alphas for some layers.
        """
        config = file.parent / "adapter_config.json"
        facts = read_json(config) if config.is_file() else metadata_of(file)
        if facts.get("alpha_pattern"):
            raise Unsupported(
                f"{file} has an alpha_pattern in its description; only one lora_alpha for all "
                "layers is supported. Export it with an alpha per layer in kohya's naming."
            )
        alpha = facts.get("lora_alpha")
        return cls(None if alpha is None else float(alpha), bool(facts.get("use_rslora")))

    def scale(self, rank: int, own_alpha: float | None) -> float:
        """The factor of `up @ down`; `own_alpha` is the layer's alpha from the file itself."""
        alpha = self.alpha if own_alpha is None else own_alpha
        if alpha is None:
            return 1.0
        return alpha / math.sqrt(rank) if self.by_root else alpha / rank


def metadata_of(file: Path) -> dict[str, Any]:
    """diffusers' description of the transformer's LoRA in a safetensors header."""
    text = read_header(file)[0].get("__metadata__", {}).get(METADATA_KEY, "{}")
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"{file} has a {METADATA_KEY} that is no JSON ({error}). Export the LoRA again."
        ) from error
    return {key.removeprefix("transformer."): value for key, value in facts.items()}
