"""The cast: the characters that come with the built-in model, each drawn from a chosen seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.drawing.people import Scene, random_scene

# Seeds of random_scene, chosen by looking; the speakers of a pair from left to right.
SINGLES: tuple[tuple[str, int], ...] = (
    ("maya", 1000),
    ("marco", 1002),
    ("samuel", 1007),
    ("grace", 1008),
    ("clara", 1009),
    ("noah", 1010),
    ("nina", 1011),
    ("priya", 1012),
    ("rufus", 1013),
    ("mateo", 1015),
    ("kwame", 1017),
    ("elena", 1019),
    ("mira", 1020),
    ("darius", 1022),
    ("jabari", 1023),
    ("leila", 1024),
    ("zoe", 1025),
    ("imani", 1029),
    ("oskar", 1030),
    ("milo", 1032),
    ("arthur", 1033),
    ("freya", 1034),
    ("viktor", 1039),
    ("pippa", 1047),
)
PAIRS: tuple[tuple[str, str, int], ...] = (
    ("ana", "ben", 2000),
    ("tom", "eli", 2004),
    ("vera", "kai", 2006),
    ("otto", "amal", 2011),
    ("iris", "leo", 2014),
    ("emma", "ada", 2024),
    ("ruby", "finn", 2029),
    ("theo", "lin", 2035),
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
    people: list[tuple[tuple[str, ...], int]] = [((name,), seed) for name, seed in SINGLES]
    people += [((left, right), seed) for left, right, seed in PAIRS]
    return [_member(names, seed, size) for names, seed in people]


def _member(ids: tuple[str, ...], seed: int, size: int) -> CastMember:
    names = tuple(speaker.capitalize() for speaker in ids)
    scene = random_scene(np.random.default_rng(seed), len(ids), size)
    return CastMember("-".join(ids), " & ".join(names), scene, ids, names)
