"""The head without hair: skin, ears, nose, shading, beard, glasses, earrings."""

from __future__ import annotations

import skia

from training.drawing.expression import Expression
from training.drawing.identity import Identity
from training.drawing.mouth import MOUTH_Y
from training.drawing.shapes import (
    Point,
    blob,
    darker,
    fill,
    glow,
    lighter,
    line,
    linear,
    mirrored,
    mix,
    oval,
    pieces,
    radial,
)

SKULL_TOP = -72.0
CHIN_DROP = 6.5  # how far the chin follows the fully open jaw, units


def outline(identity: Identity, opening: float = 0.0) -> list[Point]:
    """Points around the face, chin lowered with the jaw's opening (0..1)."""
    cheek, jaw = identity.cheek_width, identity.jaw_width
    drop = CHIN_DROP * opening
    chin = identity.chin_y + drop
    return mirrored(
        [
            (0, SKULL_TOP),
            (27, SKULL_TOP + 6.5),
            (cheek - 3, -41),
            (cheek, -12),
            (cheek - 2.6, 12),
            (jaw, 35 + 0.4 * drop),
            (identity.chin_width + 4.5, chin - 6.5 - 0.1 * drop),
            (0, chin),
        ]
    )


class Face:
    """Draws everything of the head but eyes, mouth and hair."""

    def __init__(self, identity: Identity) -> None:
        skin = identity.skin
        self._identity = identity
        self._skin = linear(
            (-34, -60),
            (40, 62),
            (lighter(skin, 0.24), 1.0),
            (skin, 1.0),
            (mix(darker(skin, 0.13), (190, 80, 60), 0.08), 1.0),
        )
        self._ear = fill(mix(darker(skin, 0.07), (206, 92, 80), 0.12))
        self._ear_fold = line(darker(skin, 0.3), 1.5, 0.6)
        self._deep = darker(skin, 0.34)
        self._nose_line = line(mix(self._deep, (150, 60, 50), 0.25), 2.0, 0.8)
        self._nostril = fill(darker(skin, 0.55), 0.6)
        self._edge = line(darker(skin, 0.3), 1.0, 0.35)
        self._blush_colour = mix((238, 96, 92), skin, 0.12)
        self._side = radial(
            (-8, -8), 70, (skin, 0.0), (skin, 0.0), (skin, 0.0), (darker(skin, 0.38), 0.5)
        )
        self._beard = self._beard_paint()
        self._glasses_line = line(self._glasses_colour(), 2.3)
        self._lens = linear(
            (-16, -16),
            (16, 16),
            ((255, 255, 255), 0.22),
            ((255, 255, 255), 0.02),
            ((255, 255, 255), 0.1),
        )
        self._metal = fill((240, 200, 110))
        self._hoop = line((236, 192, 100), 1.9)

    def _beard_paint(self) -> skia.Paint:
        who = self._identity
        if who.beard == "stubble":
            return fill(mix(darker(who.hair_colour, 0.2), who.skin, 0.3), 0.2)
        colour = mix(darker(who.hair_colour, 0.14), who.skin, 0.06)
        return linear((0, 10), (0, 66), (colour, 1.0), (darker(colour, 0.2), 1.0))

    def _glasses_colour(self) -> tuple[int, int, int]:
        accent = self._identity.accessory_colour
        return mix(darker(accent, 0.7), (44, 36, 44), 0.5)

    def draw_ears(self, canvas: skia.Canvas) -> None:
        """Ears, behind the face."""
        x = self._identity.cheek_width
        for side in (-1, 1):
            canvas.drawPath(
                blob(
                    [
                        (side * (x - 4), -14),
                        (side * (x + 5.5), -13),
                        (side * (x + 6.8), -3),
                        (side * (x + 3), 9),
                        (side * (x - 4), 12),
                    ]
                ),
                self._ear,
            )
            fold = pieces(
                [(side * (x + 2.6), -8.5), (side * (x + 3.8), -3), (side * (x + 0.6), 4)],
                closed=False,
            )
            canvas.drawPath(fold, self._ear_fold)

    def draw_earrings(self, canvas: skia.Canvas) -> None:
        """Studs or hoops at the lobes."""
        x = self._identity.cheek_width + 2.2
        for side in (-1, 1):
            if self._identity.earrings == "studs":
                canvas.drawCircle(side * x, 11.4, 2.5, self._metal)
            elif self._identity.earrings == "hoops":
                canvas.drawOval(oval((side * (x + 0.6), 18), (5.0, 7.2)), self._hoop)

    def draw_skin(self, canvas: skia.Canvas, e: Expression) -> None:
        """The face with its soft shading; call `draw_features` afterwards for the rest."""
        path = blob(outline(self._identity, e.opening))
        canvas.drawPath(path, self._skin)
        canvas.drawPath(path, self._side)
        canvas.drawPath(path, self._edge)
        if self._identity.beard in ("full", "stubble"):
            self._full_beard(canvas, e)

    def draw_static_glow(self, canvas: skia.Canvas) -> None:
        """Light on forehead, nose and chin; freckles; lines of age."""
        who = self._identity
        light = lighter(who.skin, 0.6)
        glow(canvas, (-12, -46), (30, 17), light, 0.3)
        if who.freckles:
            paint = fill(mix(who.skin, (150, 78, 48), 0.55), 0.7)
            for x, y in ((17, 12), (22, 15), (27, 11), (31, 15), (24, 9), (19, 17), (29, 19)):
                canvas.drawCircle(x, y, 0.95, paint)
                canvas.drawCircle(-x - 0.6, y + 0.7, 0.95, paint)
        if who.age > 0.76:
            self._wrinkles(canvas)

    def _wrinkles(self, canvas: skia.Canvas) -> None:
        who = self._identity
        paint = line(darker(who.skin, 0.26), 1.2, 0.45)
        for side in (-1, 1):
            fold = pieces([(side * 12, 17), (side * 19.5, 23), (side * 23.5, 30)], closed=False)
            canvas.drawPath(fold, paint)
        for y in (-47.5, -42):
            canvas.drawPath(
                pieces([(-14, y + 0.6), (0, y - 0.6), (14, y + 0.6)], closed=False), paint
            )

    def draw_blush(self, canvas: skia.Canvas, e: Expression) -> None:
        """Cheeks, lifted by a smile."""
        fair = min(sum(self._identity.skin) / 560, 1.0) ** 2
        alpha = (0.34 * self._identity.blush + 0.16 * e.cheek) * fair
        y = 17 - 2.5 * e.cheek
        for side in (-1, 1):
            glow(canvas, (side * 31, y), (17, 12), self._blush_colour, alpha)

    def draw_nose(self, canvas: skia.Canvas) -> None:
        """The nose, in one of the shapes of NOSES."""
        who = self._identity
        size = who.nose_size
        light = lighter(who.skin, 0.7)
        wide = {"button": 6.0, "soft": 6.6, "long": 6.4, "wide": 9.2}[who.nose] * size
        y = {"button": 11.5, "soft": 12.5, "long": 15.0, "wide": 13.0}[who.nose]
        glow(canvas, (3.0, y - 4), (wide + 5, 12), self._deep, 0.22)
        glow(canvas, (-1.4, y - 6.0), (5.0, 8.5), light, 0.55)
        path = pieces(
            [
                (-wide, y - 1.6),
                (-wide * 0.62, y + 2.4),
                (0, y + 3.6),
                (wide * 0.62, y + 2.4),
                (wide, y - 1.6),
            ],
            closed=False,
        )
        if who.nose == "button":
            path = pieces([(-wide * 0.8, y), (0, y + 3.6), (wide * 0.8, y)], closed=False)
        canvas.drawPath(path, self._nose_line)
        if who.nose in ("wide", "soft"):
            for side in (-1, 1):
                canvas.drawOval(oval((side * wide * 0.45, y + 1.8), (1.7, 0.9)), self._nostril)
        if who.nose == "long":
            bridge = pieces([(4.6, -9), (5.0, 2), (wide, y - 2)], closed=False)
            canvas.drawPath(bridge, line(self._deep, 1.3, 0.35))

    def _full_beard(self, canvas: skia.Canvas, e: Expression) -> None:
        who = self._identity
        drop = CHIN_DROP * e.opening
        cheek, jaw = who.cheek_width, who.jaw_width
        extra = 3.4 if who.beard == "full" else 0.0
        right = [
            (cheek + 0.4, -8.0),
            (cheek - 1.6 + extra * 0.2, 12.0),
            (jaw + extra * 0.7, 36 + 0.4 * drop),
            (who.chin_width + 5 + extra * 0.3, who.chin_y - 5.5 + drop + extra),
            (0, who.chin_y + drop + extra * 1.6),
        ]
        outer = mirrored(right)
        lower = MOUTH_Y - 11.2
        right_edge = [
            (0.0, lower - 0.8),
            (17.0, lower),
            (31.0, lower + 1.5),
            (40.0, 8.0),
            (cheek - 4.2, -9.0),
        ]
        upper_edge = [*((-x, y) for x, y in reversed(right_edge) if x > 0), *right_edge]
        canvas.drawPath(pieces(outer, upper_edge), self._beard)

    def draw_small_beard(self, canvas: skia.Canvas, e: Expression) -> None:
        """Moustache and goatee; a moustache on a full beard too."""
        who = self._identity
        drop = CHIN_DROP * e.opening
        lift = 4.4 * e.opening + 0.3 * max(e.corner - 3.2, 0)
        if who.beard == "goatee":
            canvas.drawPath(
                blob(
                    mirrored(
                        [
                            (0, who.chin_y - 11 + drop),
                            (11, who.chin_y - 10 + drop),
                            (12.5, who.chin_y - 2 + drop),
                            (0, who.chin_y + 3.6 + drop),
                        ]
                    )
                ),
                self._beard,
            )
        if who.beard in ("goatee", "moustache"):
            y = MOUTH_Y - 8.8 - lift
            canvas.drawPath(
                blob(
                    [
                        (0, y - 4.6),
                        (8, y - 6.4),
                        (18, y - 2.4),
                        (25, y + 4.6),
                        (14, y + 3.4),
                        (0, y + 1.0),
                        (-14, y + 3.4),
                        (-25, y + 4.6),
                        (-18, y - 2.4),
                        (-8, y - 6.4),
                    ]
                ),
                self._beard,
            )

    def draw_glasses(self, canvas: skia.Canvas) -> None:
        """Glasses; the origin of the canvas is the middle between the eyes."""
        who = self._identity
        if who.glasses == "none":
            return
        x = who.eye_distance + 0.6
        for side in (-1, 1):
            frame = _frame(who.glasses)
            canvas.save()
            canvas.translate(side * x, 1.0)
            canvas.scale(side, 1)
            canvas.drawPath(frame, self._lens)
            canvas.drawPath(frame, self._glasses_line)
            canvas.restore()
            canvas.drawLine(
                side * (x + 17.5), -3, side * (who.cheek_width - 0.5), -4.5, self._glasses_line
            )
        gap = x - 17.4
        canvas.drawPath(
            pieces([(-gap, -1.5), (0, -3.6), (gap, -1.5)], closed=False), self._glasses_line
        )


def _frame(kind: str) -> skia.Path:
    """One rim around the origin, x towards the ear."""
    path = skia.Path()
    if kind == "round":
        path.addOval(oval((0, 0), (17.2, 16.0)))
    elif kind == "square":
        path.addRRect(skia.RRect.MakeRectXY(skia.Rect.MakeLTRB(-17.2, -12.5, 17.8, 14), 6.5, 6.5))
    else:
        return blob(
            [(-17, -3), (-10, -12), (8, -13), (20.5, -15.5), (18, 4), (8, 13.5), (-10, 12.5)]
        )
    return path
