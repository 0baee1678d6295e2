"""Whether the tensors of a file fit the model: every name and every shape."""

from collections.abc import Collection, Mapping, Sequence

Shape = tuple[int, ...]
NAMES_SHOWN = 5


def shown(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    first = list(names)[:NAMES_SHOWN]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(first) + more


def misfits(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> list[str]:
    """The faults, one clause for each kind; empty if all names and shapes agree."""
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in sorted(set(expected) & set(found))
        if tuple(found[name]) != tuple(expected[name])
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return [f"{len(names)} {kind}: {shown(names)}" for kind, names in kinds if names]
