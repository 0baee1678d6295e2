"""Eyes and brows."""

from __future__ import annotations

import skia

from training.drawing.expression import Expression
from training.drawing.identity import Identity
from training.drawing.painter import Painter
from training.drawing.shapes import blob, ribbon

EYES_Y = -7.0
BROWS_Y = -27.0
IRIS_RADIUS = 8.0  # as in tables/shapes/features.toml
PAINTS = (
    *("white", "iris", "ring", "pupil", "spark", "small_spark", "shadow", "lash", "wing"),
    *("under", "crease", "lid", "bag", "brow"),
)


class Eyes:
    """Draws both eyes and brows of one identity for any expression."""

    def __init__(self, identity: Identity, painter: Painter) -> None:
        size = identity.eye_size
        self._identity = identity
        self._distance = identity.eye_distance
        self._half_width = 12.8 * size
        self._upper = 8.6 * size
        self._lower = 6.8 * size
        self._radius = IRIS_RADIUS * size
        self._paints = {name: painter.paint(f"eye.{name}") for name in PAINTS}

    def draw(self, canvas: skia.Canvas, e: Expression) -> None:
        """Draws both eyes; the canvas has its origin between them, on the eye line."""
        for side in (-1, 1):
            canvas.save()
            canvas.translate(side * self._distance, 0)
            canvas.scale(side, 1)  # x grows towards the ear on both sides
            self._eye(canvas, e, side)
            canvas.restore()

    def draw_brows(self, canvas: skia.Canvas, e: Expression) -> None:
        """Draws both brows; the canvas has its origin as in `draw`."""
        who = self._identity
        thick = who.brow_thickness
        base = BROWS_Y - EYES_Y
        for side in (-1, 1):
            inner = (8.6 - e.frown, base + 0.9 - e.brow_inner)
            middle_up = 0.5 * (e.brow_inner + e.brow_outer)
            middle = (22.5 - 0.5 * e.frown, base - who.brow_arch * 0.6 - middle_up)
            outer = (36.0, base + 2.8 - e.brow_outer)
            near = (14.6 - 0.8 * e.frown, 0.58 * inner[1] + 0.42 * middle[1] - 0.9)
            far = (30.0, 0.5 * outer[1] + 0.5 * middle[1] - 0.9)
            points = [inner, near, middle, far, outer]
            path = ribbon(
                [(side * x, y) for x, y in points],
                [thick * 0.72, thick * 1.04, thick, thick * 0.74, 0.9],
            )
            canvas.drawPath(path, self._paints["brow"])

    def _eye(self, canvas: skia.Canvas, e: Expression, side: int) -> None:
        open_by = e.eye_open
        shut = self._lower * 0.42
        squint = self._lower * (1 - 0.62 * e.lower_lid)
        part = min(open_by, 1.0)
        upper = shut + (-self._upper - shut) * open_by
        lower = shut + (squint - shut) * part
        slant = e.lid_slant * part
        tilt = self._identity.eye_tilt
        x = self._half_width
        inner, outer = (
            (-x, 1.6 + shut * 0.3 * (1 - part)),
            (x, 0.4 - tilt + shut * 0.4 * (1 - part)),
        )
        lid = skia.Path()
        lid.moveTo(*inner)
        high = (upper - 0.25 * 1.0) / 0.75
        lid.cubicTo(-x * 0.62, high + slant, x * 0.56, high - slant * 0.6 - tilt * 0.5, *outer)
        low = (lower - 0.25 * 1.0) / 0.75
        self._crease_above(canvas, inner, outer, high, slant, part)
        if open_by > 0.01:
            opening = skia.Path(lid)
            opening.cubicTo(x * 0.62, low, -x * 0.55, low, *inner)
            opening.close()
            self._ball(canvas, e, side, opening, lid)
            under = skia.Path()
            under.moveTo(*outer)
            under.cubicTo(x * 0.62, low, -x * 0.55, low, *inner)
            canvas.drawPath(under, self._paints["under"])
        canvas.drawPath(lid, self._paints["lash"])
        if self._identity.lashes:
            self._wing(canvas, outer, part)
        if self._identity.age > 0.6:
            bag = skia.Path()
            bag.moveTo(-x * 0.7, self._lower + 3.2)
            bag.quadTo(0, self._lower + 6.0, x * 0.7, self._lower + 2.4)
            canvas.drawPath(bag, self._paints["bag"])

    def _ball(
        self, canvas: skia.Canvas, e: Expression, side: int, opening: skia.Path, lid: skia.Path
    ) -> None:
        canvas.save()
        canvas.clipPath(opening, True)
        canvas.drawPaint(self._paints["white"])
        canvas.translate(-0.4 + side * e.gaze_x * 4.6, -0.6 + e.gaze_y * 3.2)
        canvas.drawCircle(0, 0, self._radius, self._paints["iris"])
        canvas.drawCircle(0, 0, self._radius - 0.5, self._paints["ring"])
        canvas.drawCircle(0, 0, self._radius * 0.46, self._paints["pupil"])
        canvas.drawCircle(-side * 2.6, -3.1, self._radius * 0.28, self._paints["spark"])
        canvas.drawCircle(side * 2.8, 2.9, self._radius * 0.15, self._paints["small_spark"])
        canvas.translate(0.4 - side * e.gaze_x * 4.6, 0.6 - e.gaze_y * 3.2)
        canvas.drawPath(lid, self._paints["shadow"])
        canvas.restore()

    def _crease_above(
        self,
        canvas: skia.Canvas,
        inner: tuple[float, float],
        outer: tuple[float, float],
        high: float,
        slant: float,
        part: float,
    ) -> None:
        """The soft upper lid between the lashes and its fold."""
        x = self._half_width
        fold = (-self._upper - 0.25) / 0.75 - 4.6
        fold = fold + (high - 4.6 - fold) * (0.25 if part < 1 else 1.0)
        path = skia.Path()
        path.moveTo(inner[0] * 0.94, -1.4)
        path.cubicTo(
            -x * 0.62, fold + slant * 0.8, x * 0.56, fold - slant * 0.4, outer[0] * 1.04, -2.6
        )
        canvas.drawPath(path, self._paints["crease"])
        path.lineTo(*outer)
        path.cubicTo(x * 0.56, high - slant * 0.6, -x * 0.62, high + slant, *inner)
        path.close()
        canvas.drawPath(path, self._paints["lid"])

    def _wing(self, canvas: skia.Canvas, outer: tuple[float, float], part: float) -> None:
        """Lashes at the outer corner."""
        x, y = outer
        tip = 2.6 * part - 1.2 * (1 - part)
        canvas.drawPath(
            blob(
                [
                    (x - 4.5, y - 3.2 * part - 0.6),
                    (x + 0.4, y - 1.2),
                    (x + 3.8, y - tip),
                    (x + 0.6, y + 1.0),
                ]
            ),
            self._paints["wing"],
        )
