"""Curls and afros."""

from __future__ import annotations

import numpy as np
import skia

from training.drawing.hair import Hair, band
from training.drawing.shapes import Point, blob, mirrored


def front_curly_top(hair: Hair, canvas: skia.Canvas) -> None:
    sides = band(
        [
            (47.5, 2),
            (46, -16),
            (43, -38),
            (30, -50),
            (-30, -50),
            (-43, -38),
            (-46, -16),
            (-47.5, 2),
        ],
        1,
    )
    canvas.drawPath(sides, hair.front)
    puffs = [
        (-40.0, -58.0, 12.0),
        (-28, -70, 14),
        (-10, -79, 15),
        (10, -80, 15),
        (28, -72, 14),
        (40, -59, 12),
        (-33, -50, 9),
        (-18, -54, 11),
        (0, -55, 11),
        (18, -53, 11),
        (33, -49, 9),
        (0, -66, 15),
        (-20, -64, 13),
        (20, -64, 13),
    ]
    shade = [(x, y + 3.0, r) for x, y, r in puffs]
    hair.puffs(canvas, shade[6:11], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-46, -90, 46, -44), 34)


def front_afro_short(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [
        (-51, -2),
        (-57, -22),
        (-58, -48),
        (-46, -76),
        (-20, -90),
        (0, -92),
        (20, -90),
        (46, -76),
        (58, -48),
        (57, -22),
        (51, -2),
    ]
    path = band(
        [
            (47.5, -2),
            (45.5, -18),
            (42.5, -38),
            (34, -49),
            (0, -52),
            (-34, -49),
            (-42.5, -38),
            (-45.5, -18),
            (-47.5, -2),
        ],
        1,
        outer,
    )
    hair.mass(canvas, path)
    hair.curls(canvas, path, (-56, -92, 56, -8), 46)


def _cloud(
    count: int, radii: Point, centre: Point, puff: float
) -> list[tuple[float, float, float]]:
    """Circles around an ellipse, open at the bottom, and the ellipse filled."""
    angles = np.linspace(0.80 * np.pi, 2.20 * np.pi, count)
    ring = [
        (centre[0] + radii[0] * float(np.cos(a)), centre[1] + radii[1] * float(np.sin(a)), puff)
        for a in angles
    ]
    return [*ring, (centre[0], centre[1], min(radii) + puff * 0.4)]


def back_afro(hair: Hair, canvas: skia.Canvas) -> None:
    path = hair.puffs(canvas, _cloud(17, (60, 58), (0, -36), 14), hair.back)
    hair.curls(canvas, path, (-74, -108, 74, 20), 70)


def front_afro(hair: Hair, canvas: skia.Canvas) -> None:
    puffs = [(float(x), -50.0 - 9 * (1 - (x / 40) ** 2), 11.5) for x in range(-40, 41, 10)]
    puffs += [
        (-46, -36, 9),
        (46, -36, 9),
        (-48, -22, 7),
        (48, -22, 7),
        (-30, -66, 16),
        (0, -76, 18),
        (30, -66, 16),
    ]
    hair.puffs(canvas, [(x, y + 2.5, r) for x, y, r in puffs[:13]], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-54, -92, 54, -20), 40)


def back_curly(hair: Hair, canvas: skia.Canvas) -> None:
    puffs = _cloud(13, (52, 50), (0, -32), 14)
    for side in (-1, 1):
        puffs += [
            (side * 55.0, 2.0, 15.0),
            (side * 56, 20, 15),
            (side * 52, 38, 15),
            (side * 44, 52, 13),
        ]
    canvas.drawPath(blob(mirrored([(0, -60), (48, -30), (50, 40), (30, 58), (0, 56)])), hair.back)
    path = hair.puffs(canvas, puffs, hair.back)
    hair.curls(canvas, path, (-70, -96, 70, 64), 80)


def front_curly(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    puffs = [
        (s * x, y, r)
        for x, y, r in (
            (-44.0, -34.0, 10.0),
            (-38, -48, 11),
            (-26, -58, 12),
            (-10, -64, 13),
            (8, -60, 13),
            (24, -52, 13),
            (38, -42, 12),
            (46, -28, 10),
            (-30, -70, 14),
            (0, -76, 15),
            (28, -70, 14),
            (-49, -18, 8),
            (50, -12, 9),
            (51, 4, 8),
            (-51, -2, 8),
        )
    ]
    hair.puffs(canvas, [(x, y + 2.5, r) for x, y, r in puffs[:8]], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-56, -90, 56, 6), 46)
