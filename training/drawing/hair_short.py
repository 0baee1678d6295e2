"""Short hair."""

from __future__ import annotations

import skia

from training.drawing.hair import Hair, band
from training.drawing.shapes import Point, linear, mix, pieces


def front_crop(hair: Hair, canvas: skia.Canvas) -> None:
    path = band(
        [
            (48, 2),
            (45.5, -14),
            (43, -34),
            (30, -47),
            (6, -49),
            (-20, -44),
            (-38, -40),
            (-44, -30),
            (-46, -12),
            (-48, 2),
        ],
        hair.side,
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(-30, -70), (-10, -62), (14, -50)],
            [(-8, -78), (14, -66), (34, -48)],
            [(18, -80), (38, -64), (48, -40)],
        ],
    )


def front_side_part(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [
        (-51.5, -2),
        (-54, -24),
        (-51, -52),
        (-30, -80),
        (8, -90),
        (40, -78),
        (54, -50),
        (54.5, -24),
        (51.5, -2),
    ]
    path = band(
        [
            (48, 4),
            (46, -14),
            (44, -34),
            (36, -44),
            (10, -46),
            (-14, -53),
            (-26, -64),
            (-34, -50),
            (-43, -36),
            (-46, -14),
            (-48, 4),
        ],
        s,
        outer,
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in curve]
            for curve in (
                [(-24, -66), (4, -78), (36, -58), (46, -34)],
                [(-20, -60), (10, -66), (38, -48)],
                [(-28, -66), (-40, -58), (-48, -34)],
            )
        ],
    )


def front_quiff(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [
        (-51, 0),
        (-53, -24),
        (-50, -52),
        (-42, -78),
        (-16, -96),
        (16, -101),
        (42, -92),
        (52, -72),
        (54, -44),
        (53.5, -22),
        (51, 0),
    ]
    path = band(
        [
            (47.5, 2),
            (46, -16),
            (44, -36),
            (36, -52),
            (10, -57),
            (-18, -56),
            (-38, -49),
            (-44, -34),
            (-46, -14),
            (-47.5, 2),
        ],
        s,
        outer,
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in curve]
            for curve in (
                [(-30, -56), (-20, -80), (14, -93), (40, -84)],
                [(-12, -58), (2, -76), (30, -84)],
                [(8, -58), (22, -70), (44, -72)],
                [(-40, -52), (-36, -74), (-14, -90)],
            )
        ],
    )


def front_messy(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [
        (-51, 0),
        (-56, -20),
        (-53, -40),
        (-58, -54),
        (-46, -66),
        (-44, -82),
        (-24, -84),
        (-8, -97),
        (8, -88),
        (28, -92),
        (36, -78),
        (52, -72),
        (52, -54),
        (58, -38),
        (53, -22),
        (51, 0),
    ]
    path = pieces(
        [(s * x, y) for x, y in outer],
        [(s * 48, 3), (s * 45, -18), (s * 44, -36)],
        [(s * 44, -36), (s * 36, -42), (s * 26, -36)],
        [(s * 26, -36), (s * 20, -46), (s * 6, -38)],
        [(s * 6, -38), (s * -2, -50), (s * -18, -40)],
        [(s * -18, -40), (s * -26, -50), (s * -40, -40)],
        [(s * -40, -40), (s * -45, -22), (s * -48, 3)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in curve]
            for curve in (
                [(-10, -90), (0, -66), (6, -42)],
                [(20, -88), (24, -64), (26, -40)],
                [(-34, -80), (-24, -62), (-18, -44)],
                [(40, -76), (44, -58), (44, -38)],
            )
        ],
    )


def front_buzz(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [
        (-49.5, -4),
        (-50.5, -22),
        (-47.5, -46),
        (-30, -68),
        (0, -76),
        (30, -68),
        (47.5, -46),
        (50.5, -22),
        (49.5, -4),
    ]
    path = band(
        [
            (48, -2),
            (45.5, -18),
            (42, -38),
            (34, -51),
            (0, -54),
            (-34, -51),
            (-42, -38),
            (-45.5, -18),
            (-48, -2),
        ],
        1,
        outer,
    )
    paint = linear(
        (-30, -88),
        (34, 0),
        (mix(hair.colour, hair.identity.skin, 0.22), 1.0),
        (mix(hair.colour, hair.identity.skin, 0.12), 1.0),
    )
    canvas.drawPath(path, paint)


def front_receding(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        path = pieces(
            [(s * 50, 8), (s * 55, -8), (s * 55, -30), (s * 49, -50), (s * 40, -60)],
            [(s * 40, -60), (s * 42, -44), (s * 45, -22), (s * 46, -2), (s * 50, 8)],
        )
        canvas.drawPath(path, hair.front)


def front_pixie(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [
        (-50, 6),
        (-55, -14),
        (-56, -44),
        (-38, -76),
        (-4, -88),
        (30, -83),
        (52, -60),
        (57, -34),
        (54, -8),
        (49, 10),
    ]
    path = pieces(
        [(s * x, y) for x, y in outer],
        [(s * 49, 10), (s * 46, -8), (s * 44, -22)],
        [(s * 44, -22), (s * 34, -33), (s * 12, -42), (s * -14, -56), (s * -22, -64)],
        [(s * -22, -64), (s * -34, -50), (s * -43, -34), (s * -46, -12), (s * -50, 6)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in curve]
            for curve in (
                [(-22, -74), (12, -66), (40, -36)],
                [(-18, -68), (10, -54), (34, -35)],
                [(-26, -78), (16, -80), (48, -50)],
            )
        ],
    )
