"""Neck, shoulders and clothes."""

from __future__ import annotations

import skia

from training.drawing.identity import Identity
from training.drawing.shapes import (
    Point,
    blob,
    darker,
    fill,
    lighter,
    line,
    linear,
    mirrored,
    mix,
    oval,
    pieces,
)

BOTTOM = 420.0  # far below any picture
NECK = 67.0  # the height of the chin for which the shapes below are given, units


class Body:
    """Draws neck and torso of one identity; the shadow of the chin falls on the neck."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        soft = identity.presentation == "feminine"
        self._shoulder = 74.0 if soft else 88.0
        self._neck = 16.5 if soft else 20.5
        colour = identity.clothes_colour
        self._cloth = linear(
            (-70, 80),
            (80, 190),
            (lighter(colour, 0.16), 1.0),
            (colour, 1.0),
            (darker(colour, 0.2), 1.0),
        )
        self._fold = line(darker(colour, 0.32), 1.6, 0.5)
        self._second = fill(identity.clothes_second)
        self._second_shade = line(darker(identity.clothes_second, 0.3), 1.4, 0.6)
        self._skin_shade = linear(
            (0, 58), (0, 98), (darker(identity.skin, 0.34), 1.0), (darker(identity.skin, 0.07), 1.0)
        )
        self._bone = line(darker(identity.skin, 0.3), 1.4, 0.4)

    def draw(self, canvas: skia.Canvas) -> None:
        """Draws the body at the head's rest position."""
        style = self._identity.clothes
        canvas.save()
        canvas.translate(0, self._identity.chin_y - NECK)
        self._draw_neck(canvas)
        torso = self._torso()
        if style in ("v_neck", "blouse", "crew", "striped", "dungarees", "hoodie"):
            hole = self._neckline(style)
            torso = skia.Op(torso, hole, skia.PathOp.kDifference_PathOp)
        canvas.drawPath(torso, self._cloth)
        self._details(canvas, style, torso)
        for side in (-1, 1):
            sleeve = pieces(
                [
                    (side * (self._shoulder - 20), 132),
                    (side * (self._shoulder - 17), 160),
                    (side * (self._shoulder - 19), 200),
                ],
                closed=False,
            )
            canvas.drawPath(sleeve, self._fold)
        canvas.restore()

    def _draw_neck(self, canvas: skia.Canvas) -> None:
        x = self._neck
        path = pieces(
            [(-x, 30), (-x, 62), (-x - 3, 80), (-x - 26, 92)],
            [(-x - 26, 92), (0, 160), (x + 26, 92)],
            [(x + 26, 92), (x + 3, 80), (x, 62), (x, 30)],
        )
        canvas.drawPath(path, self._skin_shade)
        for side in (-1, 1):
            bone = pieces([(side * 5, 103), (side * 16, 98.5), (side * 32, 97)], closed=False)
            canvas.drawPath(bone, self._bone)

    def _torso(self) -> skia.Path:
        x, s = self._neck, self._shoulder
        return pieces(
            [
                (-x - 3, 79),
                (-x - 12, 86),
                (-s + 26, 93),
                (-s + 5, 104),
                (-s - 3, 128),
                (-s - 8, 190),
                (-s - 12, BOTTOM),
            ],
            [(-s - 12, BOTTOM), (s + 12, BOTTOM)],
            [
                (s + 12, BOTTOM),
                (s + 8, 190),
                (s + 3, 128),
                (s - 5, 104),
                (s - 26, 93),
                (x + 12, 86),
                (x + 3, 79),
            ],
            [(x + 3, 79), (0, 84), (-x - 3, 79)],
        )

    def _neckline(self, style: str) -> skia.Path:
        x = self._neck
        if style in ("v_neck", "blouse"):
            return pieces(
                [(-x - 8, 70), (-x - 7, 84), (0, 124)], [(0, 124), (x + 7, 84), (x + 8, 70)]
            )
        deep = 104.0 if style in ("crew", "striped") else 108.0
        return pieces(
            [
                (-x - 9, 70),
                (-x - 8, 85),
                (-x * 0.6, deep - 4),
                (0, deep),
                (x * 0.6, deep - 4),
                (x + 8, 85),
                (x + 9, 70),
            ]
        )

    def _details(self, canvas: skia.Canvas, style: str, torso: skia.Path) -> None:
        canvas.save()
        canvas.clipPath(torso, True)
        if style in ("crew", "striped"):
            self._crew(canvas, style)
        elif style == "v_neck":
            canvas.drawPath(
                self._neckline(style), line(darker(self._identity.clothes_colour, 0.22), 5.5)
            )
        elif style == "dungarees":
            self._dungarees(canvas)
        canvas.restore()
        if style == "shirt":
            self._shirt(canvas)
        elif style == "blouse":
            self._collar(canvas, fill(lighter(self._identity.clothes_colour, 0.25)), 26.0)
        elif style == "turtleneck":
            self._turtleneck(canvas)
        elif style == "blazer":
            self._blazer(canvas)
        elif style == "hoodie":
            self._hoodie(canvas)

    def _crew(self, canvas: skia.Canvas, style: str) -> None:
        if style == "striped":
            paint = line(mix(self._identity.clothes_second, (255, 255, 255), 0.1), 6.5, 0.9)
            paint.setStrokeCap(skia.Paint.kButt_Cap)
            for y in range(112, 420, 17):
                stripe = pieces(
                    [(-120, y - 4), (-50, y + 2), (0, y + 4), (50, y + 2), (120, y - 4)],
                    closed=False,
                )
                canvas.drawPath(stripe, paint)
        collar = darker(self._identity.clothes_colour, 0.2)
        canvas.drawPath(self._neckline(style), line(collar, 7))

    def _dungarees(self, canvas: skia.Canvas) -> None:
        canvas.drawPath(
            self._neckline("dungarees"), line(darker(self._identity.clothes_colour, 0.2), 6)
        )
        denim = fill(self._identity.clothes_second)
        for side in (-1, 1):
            canvas.drawPath(
                pieces([(side * 34, 80), (side * 48, 80), (side * 44, 150), (side * 30, 150)]),
                denim,
            )
            canvas.drawCircle(side * 37.5, 138, 3.4, fill((240, 200, 110)))
        canvas.drawRoundRect(skia.Rect.MakeLTRB(-44, 130, 44, 420), 8, 8, denim)
        canvas.drawRoundRect(skia.Rect.MakeLTRB(-40, 134, 40, 416), 6, 6, self._second_shade)
        for side in (-1, 1):
            canvas.drawCircle(side * 37, 138, 3.4, fill((240, 200, 110)))

    def _collar(self, canvas: skia.Canvas, paint: skia.Paint, drop: float) -> None:
        x = self._neck
        for side in (-1, 1):
            wing = pieces(
                [(side * (x + 0.5), 74), (side * (x + 9), 80), (side * (x + 15), 92 + drop * 0.3)],
                [(side * (x + 15), 92 + drop * 0.3), (side * 17, 92 + drop)],
                [(side * 17, 92 + drop), (side * 1, 104 + drop * 0.25)],
                [(side * 1, 104 + drop * 0.25), (side * (x * 0.8), 90), (side * (x + 0.5), 74)],
            )
            canvas.drawPath(wing, paint)
            canvas.drawPath(wing, self._fold)

    def _shirt(self, canvas: skia.Canvas) -> None:
        colour = self._identity.clothes_colour
        canvas.drawPath(
            pieces([(-self._neck, 78), (0, 106), (self._neck, 78)]),
            fill(darker(self._identity.skin, 0.22)),
        )
        canvas.drawLine(0, 108, 0, 400, self._fold)
        button = fill(lighter(colour, 0.55))
        for y in (126, 150, 174, 198):
            canvas.drawCircle(4.5, y, 2.0, button)
        self._collar(canvas, fill(lighter(colour, 0.2)), 22.0)

    def _turtleneck(self, canvas: skia.Canvas) -> None:
        x = self._neck + 3.5
        colour = self._identity.clothes_colour
        collar = pieces(
            [(-x, 68), (-x - 1.5, 82), (-x - 6, 92)],
            [(-x - 6, 92), (0, 100), (x + 6, 92)],
            [(x + 6, 92), (x + 1.5, 82), (x, 68)],
            [(x, 68), (0, 73), (-x, 68)],
        )
        canvas.drawPath(
            collar,
            linear((0, 62), (0, 96), (darker(colour, 0.3), 1.0), (lighter(colour, 0.12), 1.0)),
        )
        seam = pieces([(-x - 6, 92), (0, 100), (x + 6, 92)], closed=False)
        canvas.drawPath(seam, self._fold)

    def _blazer(self, canvas: skia.Canvas) -> None:
        x = self._neck
        inner = pieces(
            [(-x - 3, 84), (-x * 0.5, 100), (0, 103), (x * 0.5, 100), (x + 3, 84)],
            [(x + 3, 84), (24, 130), (0, 190)],
            [(0, 190), (-24, 130), (-x - 3, 84)],
        )
        canvas.drawPath(inner, self._second)
        top = pieces(
            [
                (-x - 1, 76),
                (-x - 2, 86),
                (-x * 0.5, 99),
                (0, 102),
                (x * 0.5, 99),
                (x + 2, 86),
                (x + 1, 76),
            ]
        )
        canvas.drawPath(top, self._skin_shade)
        lapel_paint = fill(lighter(self._identity.clothes_colour, 0.14))
        for side in (-1, 1):
            points: list[list[Point]] = [
                [(side * (x + 4), 77), (side * (x + 15), 88), (side * (x + 23), 108)],
                [(side * (x + 23), 108), (side * (x + 14), 114)],
                [(side * (x + 14), 114), (side * (x + 18), 122)],
                [(side * (x + 18), 122), (side * 2, 190)],
                [(side * 2, 190), (side * (x - 1), 130), (side * (x + 4), 77)],
            ]
            lapel = pieces(*points)
            canvas.drawPath(lapel, lapel_paint)
            canvas.drawPath(lapel, self._fold)

    def _hoodie(self, canvas: skia.Canvas) -> None:
        x = self._neck
        colour = self._identity.clothes_colour
        for side in (-1, 1):
            hood = blob(
                [
                    (side * (x + 2), 70),
                    (side * (x + 20), 78),
                    (side * (x + 24), 96),
                    (side * 14, 118),
                    (side * 1, 116),
                    (side * (x - 2), 98),
                ]
            )
            canvas.drawPath(hood, fill(lighter(colour, 0.1)))
            canvas.drawPath(hood, self._fold)
            canvas.drawLine(side * 10, 116, side * 11, 142, line(lighter(colour, 0.65), 2.4))
            canvas.drawOval(oval((side * 11, 144), (1.8, 3.0)), fill(lighter(colour, 0.65)))


def scarf_over_shoulders(canvas: skia.Canvas, identity: Identity) -> None:
    """The part of a headscarf that lies on neck and chest."""
    colour = identity.clothes_second
    paint = linear((-30, 60), (40, 140), (lighter(colour, 0.1), 1.0), (darker(colour, 0.18), 1.0))
    canvas.drawPath(
        blob(mirrored([(0, 50), (44, 56), (56, 84), (44, 108), (18, 126), (0, 130)])), paint
    )
    fold = line(darker(colour, 0.3), 1.6, 0.55)
    for curve in (
        [(-46, 74), (-16, 100), (26, 104), (52, 88)],
        [(-50, 88), (-20, 116), (18, 118), (40, 110)],
    ):
        canvas.drawPath(pieces(curve, closed=False), fold)
