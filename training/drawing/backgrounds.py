"""Rooms behind the people, drawn in a square of 256 units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import skia

from training.drawing.palettes import Palette
from training.drawing.shapes import (
    Rgb,
    blob,
    darker,
    fill,
    glow,
    lighter,
    line,
    linear,
    mix,
    oval,
    pieces,
    radial,
)

SIDE = 256.0


def draw_background(canvas: skia.Canvas, kind: str, palette: Palette, seed: int) -> None:
    """Draws the background `kind` (one of BACKGROUNDS); `seed` scatters its details."""
    wall = linear(
        (0, 0),
        (60, SIDE),
        (palette.wall, 1.0),
        (mix(palette.wall, palette.deep, 0.65), 1.0),
        (palette.deep, 1.0),
    )
    canvas.drawPaint(wall)
    _DRAW[kind](canvas, palette, np.random.default_rng(seed))
    canvas.drawPaint(
        radial(
            (128, 110),
            215,
            (palette.deep, 0.0),
            (palette.deep, 0.0),
            (darker(palette.deep, 0.5), 0.28),
        )
    )


def _gradient(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    glow(
        canvas,
        (rng.uniform(60, 190), rng.uniform(40, 110)),
        (170, 150),
        lighter(palette.wall, 0.6),
        0.6,
    )
    glow(canvas, (rng.uniform(-10, 60), 250), (150, 120), palette.accent, 0.22)


def _studio(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """A large disc behind the head and a few loose shapes."""
    disc = mix(lighter(palette.wall, 0.3), palette.accent, 0.14)
    canvas.drawCircle(128, 132, 104, fill(disc, 0.75))
    canvas.drawCircle(128, 132, 119, line(lighter(palette.wall, 0.5), 1.6, 0.7))
    for _ in range(4):
        angle = rng.uniform(3.3, 6.1)
        x, y = 128 + 119 * float(np.cos(angle)), 132 + 119 * float(np.sin(angle))
        canvas.drawCircle(x, y, rng.uniform(2.5, 5.5), fill(palette.accent))


def _waves(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """Calm hills of colour."""
    base = 60.0
    for step, alpha in enumerate((0.35, 0.4, 0.5)):
        y = base + 56 * step
        shift = rng.uniform(-24, 24)
        colour = mix(lighter(palette.deep, 0.25), palette.accent, 0.1 + 0.16 * step)
        canvas.drawPath(
            pieces(
                [
                    (-20, y + shift),
                    (60, y - 26),
                    (140, y + 10 - shift * 0.4),
                    (210, y - 22 + shift * 0.5),
                    (280, y + 8),
                ],
                [(280, y + 8), (280, 270), (-20, 270), (-20, y + shift)],
            ),
            fill(colour, alpha),
        )


def _bokeh(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    for _ in range(13):
        centre = (rng.uniform(0, SIDE), rng.uniform(-10, 190))
        radius = rng.uniform(9, 30)
        colour = lighter(palette.accent if rng.random() < 0.45 else palette.wall, 0.35)
        glow(canvas, centre, (radius * 1.25, radius * 1.25), colour, 0.35)
        canvas.drawCircle(*centre, radius, fill(colour, rng.uniform(0.12, 0.3)))


def _window(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """A window with sky and hills; curtain on one side, light on the wall."""
    left = rng.uniform(4, 20) if rng.random() < 0.5 else rng.uniform(140, 152)
    right, top, bottom = left + 98, 20.0, 138.0
    frame = lighter(palette.wall, 0.72)
    canvas.drawRoundRect(
        skia.Rect.MakeLTRB(left - 6, top - 6, right + 6, bottom + 6), 5, 5, fill(frame)
    )
    canvas.save()
    canvas.clipRect(skia.Rect.MakeLTRB(left, top, right, bottom), True)
    canvas.drawPaint(linear((0, top), (0, bottom), ((168, 212, 240), 1.0), ((232, 244, 246), 1.0)))
    for x, y in ((left + 26, top + 26), (left + 72, top + 44)):
        for dx, r in ((-9, 7), (0, 10), (10, 7)):
            canvas.drawCircle(x + dx, y, r, fill((255, 255, 255), 0.8))
    canvas.drawPath(
        blob(
            [
                (left - 20, bottom + 20),
                (left + 10, bottom - 28),
                (left + 50, bottom - 18),
                (left + 84, bottom - 36),
                (right + 20, bottom + 20),
            ]
        ),
        fill((136, 186, 148)),
    )
    canvas.restore()
    canvas.drawRect(
        skia.Rect.MakeLTRB((left + right) / 2 - 2, top, (left + right) / 2 + 2, bottom), fill(frame)
    )
    canvas.drawRect(skia.Rect.MakeLTRB(left, 76, right, 80), fill(frame))
    canvas.drawRoundRect(
        skia.Rect.MakeLTRB(left - 12, bottom + 4, right + 12, bottom + 12),
        3,
        3,
        fill(darker(frame, 0.12)),
    )
    _curtain(canvas, left - 18, mix(palette.accent, palette.wall, 0.35))
    _curtain(canvas, right - 6, mix(palette.accent, palette.wall, 0.35))


def _curtain(canvas: skia.Canvas, x: float, colour: Rgb) -> None:
    canvas.drawPath(
        pieces(
            [(x, 4), (x + 2, 80), (x - 3, 176)],
            [(x - 3, 176), (x + 27, 176)],
            [(x + 27, 176), (x + 22, 80), (x + 24, 4)],
        ),
        fill(colour),
    )
    for step in (7, 14, 20):
        canvas.drawLine(x + step, 6, x + step + 1, 174, line(darker(colour, 0.22), 1.4, 0.5))
    canvas.drawRoundRect(skia.Rect.MakeLTRB(-10, 3, 270, 7), 2, 2, fill(darker(colour, 0.45)))


def _shelf_colours(palette: Palette) -> list[Rgb]:
    base = [
        *palette.clothes,
        palette.accent,
        lighter(palette.accent, 0.4),
        darker(palette.deep, 0.3),
    ]
    return [mix(colour, palette.wall, 0.28) for colour in base]


def _bookshelf(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    wood = mix(darker(palette.deep, 0.35), (150, 104, 72), 0.45)
    canvas.drawRect(skia.Rect.MakeLTRB(0, 0, SIDE, 214), fill(darker(palette.deep, 0.24), 0.65))
    colours = _shelf_colours(palette)
    for shelf in (62.0, 132.0, 202.0):
        x = rng.uniform(-4, 6)
        while x < SIDE:
            if rng.random() < 0.12:
                _pot(canvas, x + 12, shelf, palette)
                x += 27
                continue
            width, height = rng.uniform(6, 12), rng.uniform(36, 54)
            colour = colours[int(rng.integers(len(colours)))]
            canvas.drawRoundRect(
                skia.Rect.MakeLTRB(x, shelf - height, x + width - 1, shelf), 1.5, 1.5, fill(colour)
            )
            canvas.drawRect(
                skia.Rect.MakeLTRB(x + 1, shelf - height + 7, x + width - 2, shelf - height + 10),
                fill(lighter(colour, 0.5), 0.7),
            )
            x += width + (rng.uniform(5, 14) if rng.random() < 0.1 else 0.3)
        canvas.drawRect(skia.Rect.MakeLTRB(0, shelf, SIDE, shelf + 7), fill(wood))
        canvas.drawRect(
            skia.Rect.MakeLTRB(0, shelf + 7, SIDE, shelf + 10), fill((40, 26, 30), 0.22)
        )
    canvas.drawPaint(fill(palette.wall, 0.24))


def _pot(canvas: skia.Canvas, x: float, floor: float, palette: Palette) -> None:
    green = mix((98, 150, 104), palette.deep, 0.2)
    for dx, dy in ((-8, -30), (0, -36), (8, -30), (-4, -26), (5, -25)):
        canvas.drawPath(
            blob(
                [
                    (x, floor - 12),
                    (x + dx * 0.4 - 3, floor + dy * 0.6),
                    (x + dx, floor + dy),
                    (x + dx * 0.4 + 3, floor + dy * 0.6),
                ]
            ),
            fill(green),
        )
    canvas.drawPath(
        pieces(
            [(x - 9, floor - 15), (x - 6, floor)],
            [(x - 6, floor), (x + 6, floor)],
            [(x + 6, floor), (x + 9, floor - 15)],
        ),
        fill(palette.accent),
    )


def _plants(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """Large leaves from both lower corners and a framed print."""
    glow(canvas, (128, 70), (140, 120), lighter(palette.wall, 0.6), 0.5)
    for side in (0, 1):
        root = (4.0, 240.0) if side == 0 else (252.0, 240.0)
        for step in range(6):
            angle = -1.35 + 0.32 * step + rng.uniform(-0.08, 0.08)
            length = rng.uniform(95, 160) * (1.0 - 0.06 * step)
            green = mix(mix((84, 140, 104), (134, 176, 110), rng.random()), palette.deep, 0.25)
            _leaf(canvas, root, angle if side == 0 else np.pi - angle, length, green)


def _leaf(
    canvas: skia.Canvas, root: tuple[float, float], angle: float, length: float, colour: Rgb
) -> None:
    canvas.save()
    canvas.translate(*root)
    canvas.rotate(float(np.degrees(angle)))
    body = blob(
        [
            (length * 0.15, 0),
            (length * 0.45, -length * 0.15),
            (length * 0.8, -length * 0.10),
            (length, 0),
            (length * 0.8, length * 0.09),
            (length * 0.45, length * 0.13),
        ]
    )
    canvas.drawLine(0, 0, length * 0.3, 0, line(darker(colour, 0.2), 2.4))
    canvas.drawPath(
        body,
        linear((0, -20), (length, 20), (darker(colour, 0.18), 1.0), (lighter(colour, 0.16), 1.0)),
    )
    canvas.drawLine(length * 0.16, 0, length * 0.94, 0, line(darker(colour, 0.25), 1.2, 0.6))
    canvas.restore()


def _frames(canvas: skia.Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """A living-room wall: prints, a lamp's light."""
    glow(canvas, (214, 60), (120, 120), (255, 236, 190), 0.5)
    for left, top, width, height in ((10, 22, 46, 58), (14, 94, 38, 38), (198, 30, 48, 62)):
        canvas.drawRoundRect(
            skia.Rect.MakeXYWH(left + 2, top + 3, width, height), 3, 3, fill((50, 30, 40), 0.16)
        )
        canvas.drawRoundRect(
            skia.Rect.MakeXYWH(left, top, width, height), 3, 3, fill(lighter(palette.wall, 0.75))
        )
        inner = skia.Rect.MakeXYWH(left + 5, top + 5, width - 10, height - 10)
        canvas.save()
        canvas.clipRect(inner, True)
        canvas.drawPaint(fill(mix(palette.wall, palette.accent, 0.3)))
        canvas.drawCircle(
            left + width * rng.uniform(0.35, 0.65),
            top + height * 0.42,
            width * 0.17,
            fill(palette.accent),
        )
        canvas.drawOval(
            oval((left + width * 0.2, top + height), (width * 0.6, height * 0.34)),
            fill(palette.deep),
        )
        canvas.drawOval(
            oval((left + width * 0.9, top + height), (width * 0.5, height * 0.26)),
            fill(darker(palette.deep, 0.25)),
        )
        canvas.restore()


_DRAW: dict[str, Callable[[skia.Canvas, Palette, np.random.Generator], None]] = {
    "gradient": _gradient,
    "studio": _studio,
    "waves": _waves,
    "bokeh": _bokeh,
    "window": _window,
    "bookshelf": _bookshelf,
    "plants": _plants,
    "frames": _frames,
}
BACKGROUNDS = tuple(_DRAW)
