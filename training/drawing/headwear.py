"""Headscarves and hats."""

from __future__ import annotations

import skia

from training.drawing.hair import SKULL, Hair
from training.drawing.hair_long import locks
from training.drawing.identity import Identity
from training.drawing.shapes import Rgb, blob, darker, lighter, line, linear, mirrored, pieces


def scarf_colours(identity: Identity) -> tuple[Rgb, Rgb]:
    """Colour and fold colour of a headscarf or a hat."""
    colour = identity.clothes_second
    return colour, darker(colour, 0.28)


def back_hijab(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    paint = linear((0, -80), (0, 100), (colour, 1.0), (fold, 1.0))
    canvas.drawPath(
        blob(
            mirrored(
                [(0, -88), (38, -78), (58, -46), (60, -4), (56, 34), (60, 62), (46, 84), (0, 92)]
            )
        ),
        paint,
    )


def front_hijab(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    paint = linear(
        (-40, -80),
        (50, 60),
        (lighter(colour, 0.25), 1.0),
        (colour, 1.0),
        (darker(colour, 0.2), 1.0),
    )
    outer = mirrored(
        [(0, -88), (38, -78), (58, -46), (60, -4), (55, 34), (44, 58), (24, 74), (0, 78)]
    )
    hole = mirrored(
        [(0, -55), (24, -50), (40, -32), (45.5, -6), (43, 20), (34, 42), (19, 58), (0, 66.5)]
    )
    path = blob(outer)
    path.addPath(blob(hole))
    path.setFillType(skia.PathFillType.kEvenOdd)
    band = blob([(x, y + 3.5) for x, y in hole])
    canvas.save()
    canvas.clipPath(blob(hole), True)
    band.addRect(skia.Rect.MakeLTRB(-100, -100, 100, 100))
    band.setFillType(skia.PathFillType.kEvenOdd)
    canvas.drawPath(band, hair.shadow)
    canvas.restore()
    canvas.drawPath(path, paint)
    paint_fold = line(fold, 1.6, 0.5)
    s = hair.side
    for curve in (
        [(-8, -82), (30, -66), (52, -28), (50, 14), (36, 48)],
        [(-22, -78), (-50, -42), (-53, 2), (-44, 40), (-24, 66)],
        [(40, 52), (10, 72), (-26, 68)],
    ):
        canvas.drawPath(pieces([(s * x, y) for x, y in curve], closed=False), paint_fold)


def front_beanie(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    if hair.identity.presentation == "feminine":
        locks(hair, canvas, 62)
    else:
        for s in (-1, 1):
            canvas.drawPath(
                pieces(
                    [(s * 47, -40), (s * 53, -30), (s * 52, -2), (s * 48.5, 2)],
                    [(s * 48.5, 2), (s * 45.5, -20), (s * 47, -40)],
                ),
                hair.front,
            )
    crown = blob(mirrored([(0, -100), (30, -93), (50, -68), (55, -40), (40, -34), (0, -32)]))
    canvas.save()
    canvas.clipPath(blob(SKULL), True)
    canvas.drawPath(
        blob(mirrored([(0, -50), (54, -44), (56, -30), (30, -33.5), (0, -34.5)])), hair.shadow
    )
    canvas.restore()
    canvas.drawPath(
        crown,
        linear(
            (-40, -96),
            (46, -34),
            (lighter(colour, 0.25), 1.0),
            (colour, 1.0),
            (darker(colour, 0.22), 1.0),
        ),
    )
    brim = pieces(
        [(-57, -33), (-58, -46), (-53, -56)],
        [(-53, -56), (-28, -62), (0, -64), (28, -62), (53, -56)],
        [(53, -56), (58, -46), (57, -33)],
        [(57, -33), (30, -39), (0, -41), (-30, -39), (-57, -33)],
    )
    canvas.drawPath(
        brim,
        linear((-50, -50), (50, -40), (lighter(colour, 0.16), 1.0), (darker(colour, 0.16), 1.0)),
    )
    canvas.save()
    canvas.clipPath(brim, True)
    for x in range(-56, 57, 7):
        canvas.drawLine(x * 0.96, -66, x, -30, line(fold, 1.2, 0.4))
    canvas.restore()


def back_beanie(hair: Hair, canvas: skia.Canvas) -> None:
    if hair.identity.presentation == "feminine":
        canvas.drawPath(
            blob(mirrored([(0, -60), (52, -40), (60, 10), (60, 52), (46, 66), (0, 62)])), hair.back
        )
