"""Long hair, loose or in braids."""

from __future__ import annotations

import skia

from training.drawing.hair import Hair
from training.drawing.shapes import Point, blob, fill, mirrored, oval, pieces


def back_bob(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(
        pieces(
            [
                (-48, 44),
                (-60, 30),
                (-62, -10),
                (-56, -52),
                (-34, -78),
                (0, -86),
                (34, -78),
                (56, -52),
                (62, -10),
                (60, 30),
                (48, 44),
            ],
            [(48, 44), (24, 50), (0, 51), (-24, 50), (-48, 44)],
        ),
        hair.back,
    )


def locks(hair: Hair, canvas: skia.Canvas, bottom: float) -> None:
    """Hair falling on both sides of the face."""
    for s in (-1, 1):
        path = pieces(
            [
                (s * 38, -50),
                (s * 50, -50),
                (s * 58, -24),
                (s * 61.5, 8),
                (s * 60, bottom - 12),
                (s * 51, bottom),
            ],
            [(s * 51, bottom), (s * 47.5, bottom - 16), (s * 49, 6), (s * 46, -18), (s * 38, -50)],
        )
        canvas.drawPath(path, hair.front)


def front_bob(hair: Hair, canvas: skia.Canvas) -> None:
    locks(hair, canvas, 44)
    outer: list[Point] = [
        (-54, -18),
        (-56, -42),
        (-40, -74),
        (0, -87),
        (40, -74),
        (56, -42),
        (54, -18),
    ]
    path = pieces(
        outer,
        [(54, -18), (48, -24), (45, -33)],
        [(45, -33), (24, -38), (0, -39), (-24, -38), (-45, -33)],
        [(-45, -33), (-48, -24), (-54, -18)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(-26, -70), (-27, -52), (-27, -38)],
            [(-8, -76), (-9, -56), (-9, -38)],
            [(12, -76), (12, -56), (12, -38)],
            [(30, -70), (31, -52), (31, -37)],
        ],
    )


def back_long(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(
        pieces(
            [
                (-52, 112),
                (-66, 90),
                (-65, 30),
                (-60, -20),
                (-54, -54),
                (-32, -80),
                (0, -88),
                (32, -80),
                (54, -54),
                (60, -20),
                (65, 30),
                (66, 90),
                (52, 112),
            ]
        ),
        hair.back,
    )


def front_centre_part(hair: Hair, canvas: skia.Canvas, bottom: float) -> None:
    locks(hair, canvas, bottom)
    outer: list[Point] = [
        (-56.5, -6),
        (-58, -34),
        (-44, -72),
        (-18, -86),
        (0, -87),
        (18, -86),
        (44, -72),
        (58, -34),
        (56.5, -6),
    ]
    path = pieces(
        outer,
        [(56.5, -6), (48, -12), (43, -28), (28, -46), (8, -60), (0, -66)],
        [(0, -66), (-8, -60), (-28, -46), (-43, -28), (-48, -12), (-56.5, -6)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in c]
            for s in (-1, 1)
            for c in ([(4, -76), (28, -62), (46, -32)], [(2, -70), (20, -58), (40, -36)])
        ],
    )


def front_long(hair: Hair, canvas: skia.Canvas) -> None:
    front_centre_part(hair, canvas, 84)


def front_long_side(hair: Hair, canvas: skia.Canvas) -> None:
    locks(hair, canvas, 84)
    front_sweep(hair, canvas)


def front_sweep(hair: Hair, canvas: skia.Canvas) -> None:
    """Parted on one side, swept over the forehead to the other."""
    s = hair.side
    outer: list[Point] = [
        (-56, -6),
        (-57, -36),
        (-42, -74),
        (-8, -88),
        (28, -83),
        (52, -56),
        (58, -30),
        (56.5, -2),
    ]
    hairline: list[Point] = [
        (56.5, -2),
        (48.5, -10),
        (45, -26),
        (30, -36),
        (6, -46),
        (-16, -58),
        (-24, -68),
    ]
    short: list[Point] = [(-24, -68), (-32, -52), (-43, -34), (-47.5, -14), (-56, -6)]
    path = pieces(*([(s * x, y) for x, y in part] for part in (outer, hairline, short)))
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in curve]
            for curve in (
                [(-22, -72), (10, -66), (40, -44), (52, -14)],
                [(-22, -70), (8, -56), (36, -38)],
                [(-26, -74), (14, -78), (48, -50)],
                [(-26, -70), (-42, -54), (-50, -20)],
            )
        ],
    )


def back_wavy(hair: Hair, canvas: skia.Canvas) -> None:
    right: list[Point] = [
        (0, -88),
        (32, -80),
        (54, -54),
        (58, -30),
        (66, -10),
        (62, 8),
        (71, 26),
        (66, 44),
        (75, 62),
        (68, 80),
        (72, 96),
        (50, 108),
        (0, 100),
    ]
    canvas.drawPath(blob(mirrored(right)), hair.back)


def front_wavy(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        path = pieces(
            [
                (s * 40, -46),
                (s * 55, -34),
                (s * 63, -10),
                (s * 60, 8),
                (s * 68, 26),
                (s * 63, 44),
                (s * 71, 62),
                (s * 62, 86),
            ],
            [
                (s * 62, 86),
                (s * 54, 70),
                (s * 57, 52),
                (s * 50, 36),
                (s * 53, 20),
                (s * 48, 4),
                (s * 47, -18),
                (s * 40, -46),
            ],
        )
        canvas.drawPath(path, hair.front)
        hair.strands(
            canvas,
            path,
            [[(s * 52, -26), (s * 57, -8), (s * 54, 10), (s * 61, 28), (s * 57, 46), (s * 64, 66)]],
        )
    front_sweep(hair, canvas)


def front_fringe_long(hair: Hair, canvas: skia.Canvas) -> None:
    locks(hair, canvas, 84)
    outer: list[Point] = [
        (-56, -14),
        (-57, -42),
        (-40, -75),
        (0, -87),
        (40, -75),
        (57, -42),
        (56, -14),
    ]
    path = pieces(
        outer,
        [(56, -14), (49, -16), (44, -27)],
        [(44, -27), (26, -36), (0, -41), (-26, -36), (-44, -27)],
        [(-44, -27), (-49, -16), (-56, -14)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas, path, [[(x * 0.8, -74), (x * 0.95, -56), (x, -37)] for x in (-30, -15, 0, 15, 30)]
    )


def back_braids(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(blob(mirrored([(0, -60), (52, -40), (52, 20), (40, 40), (0, 44)])), hair.back)


def front_braids(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        for step in range(6):
            y = 16 + step * 13.5
            x = s * (53 + 1.2 * step)
            canvas.drawOval(oval((x, y), (9.2 - 0.5 * step, 9.0)), hair.front)
            knot = pieces([(x - 7, y - 4), (x, y + 3), (x + 7, y - 4)], closed=False)
            canvas.drawPath(knot, hair.strand)
        canvas.drawRoundRect(
            skia.Rect.MakeXYWH(s * 60 - 5.5, 91, 11, 6), 3, 3, fill(hair.identity.accessory_colour)
        )
    outer: list[Point] = [
        (-57, 14),
        (-57.5, -30),
        (-44, -70),
        (-18, -84),
        (0, -85),
        (18, -84),
        (44, -70),
        (57.5, -30),
        (57, 14),
    ]
    path = pieces(
        outer,
        [(57, 14), (48, 6), (45, -22), (30, -46), (8, -60), (0, -66)],
        [(0, -66), (-8, -60), (-30, -46), (-45, -22), (-48, 6), (-57, 14)],
    )
    hair.mass(canvas, path)
    hair.strands(
        canvas,
        path,
        [
            [(s * x, y) for x, y in c]
            for s in (-1, 1)
            for c in ([(4, -76), (30, -60), (49, -24)], [(2, -70), (22, -56), (44, -24)])
        ],
    )
