"""Does a file of weights fit a model? Compares all names and shapes."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

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
