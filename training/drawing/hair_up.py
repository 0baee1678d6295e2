"""Hair pulled back: buns and ponytails."""

from __future__ import annotations

import skia

from training.drawing.hair import Hair, band
from training.drawing.shapes import Point, blob, line, oval, pieces


def pulled_back(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [
        (-51, 2),
        (-53.5, -22),
        (-50, -50),
        (-33, -74),
        (0, -82),
        (33, -74),
        (50, -50),
        (53.5, -22),
        (51, 2),
    ]
    path = band(
        [
            (48, 4),
            (45, -18),
            (40, -40),
            (26, -53),
            (0, -57),
            (-26, -53),
            (-40, -40),
            (-45, -18),
            (-48, 4),
        ],
        1,
        outer,
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(x, -54 + abs(x) * 0.2), (x * 0.8, -66), (x * 0.45, -80)]
            for x in (-38, -26, -13, 0, 13, 26, 38)
        ],
    )


def bun(hair: Hair, canvas: skia.Canvas, centre: Point, radius: float) -> None:
    x, y = centre
    canvas.drawCircle(x, y, radius, hair.front)
    for share in (0.45, 0.75):
        canvas.drawArc(
            oval((x, y + radius * 0.2), (radius * share, radius * share)),
            190,
            160,
            False,
            hair.strand if share > 0.5 else hair.light_strand,
        )


def back_bun(hair: Hair, canvas: skia.Canvas) -> None:
    bun(hair, canvas, (0, -91), 19 if hair.identity.hair == "bun" else 13)


def back_space_buns(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        bun(hair, canvas, (s * 38, -80), 17)


def back_ponytail(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    tail: list[Point] = [
        (s * 22, -76),
        (s * 50, -84),
        (s * 72, -60),
        (s * 78, -20),
        (s * 72, 24),
        (s * 84, 56),
        (s * 62, 46),
        (s * 54, 10),
        (s * 54, -30),
    ]
    path = blob(tail)
    canvas.drawPath(path, hair.back)
    hair.strands(
        canvas,
        path,
        [
            [(s * 40, -72), (s * 62, -48), (s * 66, -4), (s * 66, 30)],
            [(s * 34, -76), (s * 66, -62), (s * 72, -10), (s * 74, 40)],
        ],
    )
    canvas.drawPath(
        pieces([(s * 32, -84), (s * 42, -72), (s * 44, -60)], closed=False),
        line(hair.identity.accessory_colour, 6),
    )
