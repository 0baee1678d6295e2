"""All hairstyles by name, drawn in two layers: behind the face and in front of it."""

from __future__ import annotations

from collections.abc import Callable

import skia

from training.drawing.hair import Hair
from training.drawing.hair_curly import (
    back_afro,
    back_curly,
    front_afro,
    front_afro_short,
    front_curly,
    front_curly_top,
)
from training.drawing.hair_long import (
    back_bob,
    back_braids,
    back_long,
    back_wavy,
    front_bob,
    front_braids,
    front_fringe_long,
    front_long,
    front_long_side,
    front_wavy,
)
from training.drawing.hair_short import (
    front_buzz,
    front_crop,
    front_messy,
    front_pixie,
    front_quiff,
    front_receding,
    front_side_part,
)
from training.drawing.hair_up import (
    back_bun,
    back_ponytail,
    back_space_buns,
    pulled_back,
)
from training.drawing.headwear import (
    back_beanie,
    back_hijab,
    front_beanie,
    front_hijab,
)


def draw_back(hair: Hair, canvas: skia.Canvas) -> None:
    """Draws what is behind the neck and the face; nothing for most short hair."""
    draw = _BACK.get(hair.identity.hair)
    if draw:
        draw(hair, canvas)


def draw_front(hair: Hair, canvas: skia.Canvas) -> None:
    """Draws what is over the forehead and beside the face; nothing for a bald head."""
    draw = _FRONT.get(hair.identity.hair)
    if draw:
        draw(hair, canvas)


_Draw = Callable[[Hair, skia.Canvas], None]
_BACK: dict[str, _Draw] = {
    "bob": back_bob,
    "long": back_long,
    "long_side": back_long,
    "wavy": back_wavy,
    "bun": back_bun,
    "man_bun": back_bun,
    "ponytail": back_ponytail,
    "curly": back_curly,
    "afro": back_afro,
    "braids": back_braids,
    "space_buns": back_space_buns,
    "hijab": back_hijab,
    "fringe_long": back_long,
    "beanie": back_beanie,
}
_FRONT: dict[str, _Draw] = {
    "bob": front_bob,
    "long": front_long,
    "long_side": front_long_side,
    "wavy": front_wavy,
    "bun": pulled_back,
    "man_bun": pulled_back,
    "ponytail": pulled_back,
    "space_buns": pulled_back,
    "curly": front_curly,
    "afro": front_afro,
    "pixie": front_pixie,
    "braids": front_braids,
    "hijab": front_hijab,
    "fringe_long": front_fringe_long,
    "beanie": front_beanie,
    "crop": front_crop,
    "quiff": front_quiff,
    "side_part": front_side_part,
    "curly_top": front_curly_top,
    "afro_short": front_afro_short,
    "buzz": front_buzz,
    "messy": front_messy,
    "receding": front_receding,
}
