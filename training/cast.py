"""The cast: the characters that come with the built-in model, each drawn from a chosen seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.people import Scene, random_scene

SINGLES: tuple[tuple[str, int], ...] = (
    ("mira", 1000), ("nora", 1001), ("liam", 1002), ("hugo", 1003), ("theo", 1004),
    ("zuri", 1005), ("elsa", 1006), ("omar", 1007), ("ada", 1008), ("jonas", 1009),
    ("finn", 1010), ("walt", 1011), ("leila", 1012), ("karl", 1013), ("rufus", 1014),
    ("imani", 1015), ("amira", 1016), ("paul", 1017), ("ines", 1018), ("grace", 1019),
    ("yuki", 1020), ("sven", 1021), ("tara", 1022), ("kofi", 1023),
)
PAIRS: tuple[tuple[str, str, int], ...] = (
    ("ana", "ben", 2000), ("cleo", "dan", 2001), ("eva", "felix", 2002), ("gina", "hal", 2003),
    ("isa", "jude", 2004), ("kim", "lars", 2005), ("mona", "nils", 2006), ("olga", "per", 2007),
)


@dataclass(frozen=True)
class CastMember:
    """One character: a scene and who speaks in it, from left to right."""

    id: str
    name: str
    scene: Scene
    speaker_ids: tuple[str, ...]
    speaker_names: tuple[str, ...]


def cast(size: int = 256) -> list[CastMember]:
    """The 24 single characters, then the 8 pairs; `size` is the side of the pictures in pixels."""
    people = [((name,), seed) for name, seed in SINGLES]
    people += [((left, right), seed) for left, right, seed in PAIRS]
    return [_member(names, seed, size) for names, seed in people]


def _member(ids: tuple[str, ...], seed: int, size: int) -> CastMember:
    names = tuple(speaker.capitalize() for speaker in ids)
    scene = random_scene(np.random.default_rng(seed), len(ids), size)
    return CastMember("-".join(ids), " & ".join(names), scene, ids, names)
