"""The cast: the characters that come with the built-in model, each drawn from a chosen seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.drawing.people import DrawnScene, random_scene
from training.drawing.tables import read_table


@dataclass(frozen=True)
class CastMember:
    """One character: a scene and its speakers from left to right."""

    id: str
    name: str
    scene: DrawnScene
    speaker_ids: tuple[str, ...]
    speaker_names: tuple[str, ...]


def cast(size: int = 256) -> list[CastMember]:
    """The characters of tables/cast.toml; `size` is the side of the pictures in pixels."""
    return [
        _member(tuple(row["speakers"]), row["seed"], size) for row in read_table("cast")["members"]
    ]


def _member(ids: tuple[str, ...], seed: int, size: int) -> CastMember:
    names = tuple(speaker.capitalize() for speaker in ids)
    scene = random_scene(np.random.default_rng(seed), len(ids), size)
    return CastMember("-".join(ids), " & ".join(names), scene, ids, names)
