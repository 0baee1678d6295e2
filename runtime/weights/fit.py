"""Does a file of weights fit a model? Compares all names and shapes, and looks at the values."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from runtime.models.fp8.storage import FP8

Shape = tuple[int, ...]
NAMES_SHOWN = 5


def shown(names: Collection[str]) -> str:
    """The first few of many names, and how many more there are."""
    first = list(names)[:NAMES_SHOWN]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(first) + more


def misfits(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> list[str]:
    """One clause for each kind of fault; empty if all names and shapes agree."""
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in sorted(set(expected) & set(found))
        if tuple(found[name]) != tuple(expected[name])
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return [f"{len(names)} {kind}: {shown(names)}" for kind, names in kinds if names]


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors with NaN or infinite values."""
    return [name for name, tensor in tensors.items() if not is_finite(tensor)]


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite, found without a copy. Integers always are."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.dtype == FP8:  # has no infinity; in NaN all bits but the sign are one
        bits = tensor.view(torch.uint8)
        return not bool(((bits & 0x7F) == 0x7F).any())
    return bool(torch.stack(torch.aminmax(tensor)).isfinite().all())
