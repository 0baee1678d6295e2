"""Does what a file holds fit the model? Every name and every shape."""

from collections.abc import Collection, Mapping, Sequence

Shape = tuple[int, ...]
NAMES_SHOWN = 5


def shown(names: Collection[str]) -> str:
    """The first few of many names."""
    first = list(names)[:NAMES_SHOWN]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(first) + more


def misfits(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> list[str]:
    """What is wrong, a clause for each kind of fault; nothing when all names and shapes agree."""
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in sorted(set(expected) & set(found))
        if tuple(found[name]) != tuple(expected[name])
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return [f"{len(names)} {kind}: {shown(names)}" for kind, names in kinds if names]
