"""A file as github.com/madebyollin/taehv publishes it: all names and shapes, random numbers."""

from pathlib import Path

import torch
from torch import Tensor

WIDTHS = {3: 256, 9: 128, 15: 64}  # the layer a stage begins at: its channels
GROWN = {7: (256, 256), 13: (256, 128), 19: (128, 64)}
PROJECTED = {8: (128, 256), 14: (64, 128), 20: (64, 64)}


def taehv_tensors(seed: int = 0) -> dict[str, Tensor]:
    """The decoder's weights by their published names, and two of the encoder's."""
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.1.weight": (256, 16, 3, 3),
        "decoder.1.bias": (256,),
        "decoder.22.weight": (3, 64, 3, 3),
        "decoder.22.bias": (3,),
        "encoder.0.weight": (64, 3, 3, 3),
        "encoder.0.bias": (64,),
    }
    for first, width in WIDTHS.items():
        for block in range(first, first + 3):
            for place, inputs in ((0, 2 * width), (2, width), (4, width)):
                shapes[f"decoder.{block}.conv.{place}.weight"] = (width, inputs, 3, 3)
                shapes[f"decoder.{block}.conv.{place}.bias"] = (width,)
    shapes |= {f"decoder.{layer}.conv.weight": (*size, 1, 1) for layer, size in GROWN.items()}
    shapes |= {f"decoder.{layer}.weight": (*size, 3, 3) for layer, size in PROJECTED.items()}
    generator = torch.Generator().manual_seed(seed)
    return {name: _noise(shape, generator) for name, shape in shapes.items()}


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else 16
    return torch.randn(shape, generator=generator) * fan_in**-0.5


def write_taehv(file: Path, seed: int = 0) -> Path:
    torch.save(taehv_tensors(seed), file)
    return file
