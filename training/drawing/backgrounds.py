"""Rooms behind the people, drawn in a square of 256 units from tables/shapes/rooms.toml."""

from __future__ import annotations

import numpy as np
import skia

from training.drawing.painter import Painter
from training.drawing.palettes import Palette
from training.drawing.shapes import Rgb, darker, lighter, mix
from training.drawing.tables import read_table

SIDE = 256.0
BACKGROUNDS: tuple[str, ...] = tuple(read_table("identity")["backgrounds"])
SHELVES = (62.0, 132.0, 202.0)  # heights of the boards


def draw_background(canvas: skia.Canvas, kind: str, palette: Palette, seed: int) -> None:
    """Draws the background `kind` (one of BACKGROUNDS); `seed` scatters its details."""
    rng = np.random.default_rng(seed)
    colours = {"wall": palette.wall, "deep": palette.deep, "accent": palette.accent}
    painter = Painter(colours, rng)
    painter.draw(canvas, "wall")
    if kind == "bookshelf":
        _bookshelf(canvas, painter, palette, rng)
    else:
        painter.draw(canvas, f"rooms.{kind}")
    painter.draw(canvas, "vignette")


def _book_colours(palette: Palette) -> list[Rgb]:
    base = [
        *palette.clothes,
        palette.accent,
        lighter(palette.accent, 0.4),
        darker(palette.deep, 0.3),
    ]
    return [mix(colour, palette.wall, 0.28) for colour in base]


def _bookshelf(
    canvas: skia.Canvas, painter: Painter, palette: Palette, rng: np.random.Generator
) -> None:
    """Boards full of books of random sizes and colours, with a pot here and there."""
    painter.draw(canvas, "shelf.wall")
    colours = _book_colours(palette)
    for floor in SHELVES:
        x = rng.uniform(-4, 6)
        while x < SIDE:
            if rng.random() < 0.12:
                painter.draw(canvas, "shelf.pot", x=x + 12, floor=floor)
                x += 27
                continue
            width, height = rng.uniform(6, 12), rng.uniform(36, 54)
            colour = colours[int(rng.integers(len(colours)))]
            size = {"width": width, "height": height}
            painter.draw(canvas, "shelf.book", x=x, floor=floor, colour=colour, **size)
            x += width + (rng.uniform(5, 14) if rng.random() < 0.1 else 0.3)
        painter.draw(canvas, "shelf.board", floor=floor)
    painter.draw(canvas, "shelf.haze")
