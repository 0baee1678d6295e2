"""The identity of a drawn person: all looks that do not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.drawing.palettes import (
    HAIR_COLOURS,
    IRIS_COLOURS,
    LIPSTICKS,
    PALETTES,
    SKIN_TONES,
    Palette,
)
from training.drawing.shapes import Rgb, darker, mix
from training.drawing.tables import read_table

Presentation = Literal["feminine", "masculine"]

_LISTS = read_table("identity")
HAIR_STYLES: dict[Presentation, tuple[str, ...]] = {
    "feminine": tuple(_LISTS["hair"]["feminine"]),
    "masculine": tuple(_LISTS["hair"]["masculine"]),
}
CLOTHES: dict[Presentation, tuple[str, ...]] = {
    "feminine": tuple(_LISTS["clothes"]["feminine"]),
    "masculine": tuple(_LISTS["clothes"]["masculine"]),
}
NOSES: tuple[str, ...] = tuple(_LISTS["noses"])
GLASSES: tuple[str, ...] = tuple(_LISTS["glasses"])


@dataclass(frozen=True)
class Identity:
    """Looks of one person. Sizes are factors around 1 or face units (see drawing.shapes)."""

    presentation: Presentation
    skin: Rgb
    blush: float  # 0..1
    freckles: bool
    age: float  # 0 young .. 1 old
    cheek_width: float  # half widths of the face, units
    jaw_width: float
    chin_width: float
    chin_y: float  # units below the origin
    hair: str
    hair_colour: Rgb
    hair_side: int  # -1 or 1: where the parting is
    accessory_colour: Rgb
    iris: Rgb
    eye_size: float
    eye_distance: float  # half distance between the eyes, units
    eye_tilt: float  # outer corner up, units
    lashes: bool
    brow_thickness: float
    brow_arch: float
    brow_colour: Rgb
    nose: str
    nose_size: float
    lips: Rgb
    lip_fullness: float
    mouth_width: float  # half width at rest, units
    beard: str  # none, stubble, full, goatee, moustache
    glasses: str  # none or one of GLASSES
    earrings: str  # none, studs, hoops
    clothes: str
    clothes_colour: Rgb
    clothes_second: Rgb


def _hair_colour(rng: np.random.Generator, tone: int, age: float) -> Rgb:
    """Mostly a natural colour; grey or silver for the old, now and then a dyed one."""
    if age > 0.76:
        return HAIR_COLOURS["silver" if rng.random() < 0.5 else "grey"][0]
    dyed = rng.random() < 0.07
    names = [
        name
        for name, (_, first, last) in HAIR_COLOURS.items()
        if first <= tone <= last
        and name not in ("grey", "silver")
        and (name in ("rose", "teal", "plum")) == dyed
    ]
    return HAIR_COLOURS[names[int(rng.integers(len(names)))]][0]


def _beard(rng: np.random.Generator, presentation: Presentation) -> str:
    if presentation == "feminine":
        return "none"
    kinds = ("none", "stubble", "full", "goatee", "moustache")
    return str(rng.choice(kinds, p=(0.46, 0.18, 0.2, 0.08, 0.08)))


def _lips(rng: np.random.Generator, skin: Rgb, presentation: Presentation) -> Rgb:
    """Lipstick, or a rosier and darker shade of the skin."""
    natural = mix(skin, (176, 66, 70), 0.46)
    if presentation == "masculine":
        return mix(skin, (168, 62, 62), 0.46)
    if rng.random() < 0.35:
        return natural
    return mix(LIPSTICKS[int(rng.integers(len(LIPSTICKS)))], natural, 0.25)


def _shape(rng: np.random.Generator, presentation: Presentation) -> dict[str, float]:
    """Sizes of the face and its features."""
    soft = presentation == "feminine"
    return {
        "cheek_width": rng.uniform(47.0, 51.5),
        "jaw_width": rng.uniform(35, 40) if soft else rng.uniform(36.5, 41.5),
        "chin_width": rng.uniform(13, 18) if soft else rng.uniform(16, 22),
        "chin_y": rng.uniform(55, 59) if soft else rng.uniform(57, 62),
        "eye_size": rng.uniform(1.1, 1.23) if soft else rng.uniform(0.98, 1.1),
        "eye_distance": rng.uniform(22.3, 24.2),
        "eye_tilt": rng.uniform(0.2, 2.6) if soft else rng.uniform(-0.8, 1.2),
        "brow_thickness": rng.uniform(2.8, 4.2) if soft else rng.uniform(4.4, 6.2),
        "brow_arch": rng.uniform(2.5, 5) if soft else rng.uniform(1, 3),
        "nose_size": rng.uniform(0.85, 1.05) if soft else rng.uniform(1.0, 1.2),
        "lip_fullness": rng.uniform(1.05, 1.3) if soft else rng.uniform(0.82, 1.02),
        "mouth_width": rng.uniform(19.5, 22) if soft else rng.uniform(20.5, 23.5),
    }


def random_identity(
    rng: np.random.Generator, palette: Palette | None = None, clothes_index: int | None = None
) -> Identity:
    """A random person, dressed in colours of `palette` (a random one when None).

    `clothes_index` picks the palette's clothes colour, so that two people differ.
    """
    palette = palette or PALETTES[int(rng.integers(len(PALETTES)))]
    presentation: Presentation = "feminine" if rng.random() < 0.52 else "masculine"
    tone = int(rng.integers(len(SKIN_TONES)))
    jitter = rng.integers(-4, 5, size=3)
    base = SKIN_TONES[tone]
    skin: Rgb = (
        min(base[0] + int(jitter[0]), 255),
        base[1] + int(jitter[1]),
        base[2] + int(jitter[2]),
    )
    age = float(rng.random())
    hair_colour = _hair_colour(rng, tone, age)
    irises = [colour for colour, last in IRIS_COLOURS if tone <= last]
    first = int(rng.integers(len(palette.clothes))) if clothes_index is None else clothes_index
    count = len(palette.clothes)
    second = palette.clothes[(first + 1 + int(rng.integers(count - 1))) % count]
    dark_brow = darker(hair_colour, 0.3 if sum(hair_colour) < 480 else 0.42)
    return Identity(
        presentation=presentation,
        skin=skin,
        blush=rng.uniform(0.45, 1.0) if presentation == "feminine" else rng.uniform(0.2, 0.6),
        freckles=bool(rng.random() < 0.16 and 1 <= tone <= 5),
        age=age,
        hair=str(rng.choice(HAIR_STYLES[presentation])),
        hair_colour=hair_colour,
        hair_side=1 if rng.random() < 0.5 else -1,
        accessory_colour=palette.accent,
        iris=irises[int(rng.integers(len(irises)))],
        lashes=presentation == "feminine",
        brow_colour=dark_brow,
        nose=str(rng.choice(NOSES)),
        lips=_lips(rng, skin, presentation),
        beard=_beard(rng, presentation),
        glasses=str(rng.choice(GLASSES)) if rng.random() < 0.24 else "none",
        earrings=str(rng.choice(("none", "studs", "hoops")))
        if presentation == "feminine"
        else "none",
        clothes=str(rng.choice(CLOTHES[presentation])),
        clothes_colour=palette.clothes[first % count],
        clothes_second=second,
        **_shape(rng, presentation),
    )
