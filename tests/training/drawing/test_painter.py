"""The painter of shape tables, on the tables that ship."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import skia

from training.drawing.identity import Identity, random_identity
from training.drawing.painter import Painter

SIDE = 240
Pixels = npt.NDArray[np.int16]


def someone(**looks: object) -> Identity:
    return replace(random_identity(np.random.default_rng(3)), **looks)  # type: ignore[arg-type]


def drawn(identity: Identity, part: str, **names: float) -> Pixels:
    """A part on a transparent square around the origin, one unit a pixel."""
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    canvas = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType).getCanvas()
    canvas.translate(SIDE / 2, SIDE / 2)
    Painter(vars(identity), np.random.default_rng(0)).draw(canvas, part, **names)
    return pixels.astype(np.int16)


def opacity(pixels: Pixels) -> Pixels:
    return pixels[..., 3]


@pytest.mark.parametrize("part", ["hair.messy.front", "hair.side_part.front"])
def test_the_parting_mirrors_the_outline_of_the_hair(part: str) -> None:
    left, right = (opacity(drawn(someone(hair_side=side), part)) > 127 for side in (-1, 1))
    assert (left != right).sum() > 100
    assert (left != right[:, ::-1]).sum() <= 25  # antialiasing is not symmetrical


def test_a_step_for_both_sides_is_drawn_on_both() -> None:
    ears = opacity(drawn(someone(earrings="none"), "face.ears")) > 127
    assert (ears != ears[:, ::-1]).sum() <= 25  # antialiasing is not symmetrical
    assert ears[:, : SIDE // 2].any()


def test_a_step_is_left_out_unless_its_condition_holds() -> None:
    plain, studs = (drawn(someone(earrings=kind), "face.ears") for kind in ("none", "studs"))
    assert (plain != studs).any()
    assert not drawn(someone(presentation="masculine"), "hair.beanie.back").any()


def test_names_move_what_depends_on_them() -> None:
    at_rest, open_wide = (opacity(drawn(someone(), "face.skin", drop=d)) for d in (0.0, 6.5))
    lowest = [np.nonzero(face.max(axis=1))[0].max() for face in (at_rest, open_wide)]
    assert lowest[1] - lowest[0] in (6, 7)


def test_what_is_inside_a_shape_does_not_show_outside() -> None:
    collar = opacity(drawn(someone(), "body.crew_collar", deep=104.0)) > 0
    shirt = opacity(drawn(someone(), "clothes.crew")) > 0
    assert (collar & ~shirt).any()  # the collar's line alone is wider than what shows of it


def test_a_neckline_is_cut_out_of_a_garment() -> None:
    whole, cut = (opacity(drawn(someone(), f"clothes.{name}")) for name in ("turtleneck", "crew"))
    assert whole[SIDE // 2 + 92, SIDE // 2] == 255
    assert cut[SIDE // 2 + 92, SIDE // 2] == 0
