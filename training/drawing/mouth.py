"""The mouth: lips, and teeth and tongue inside when the jaw opens it."""

from __future__ import annotations

import skia

from training.drawing.expression import Expression
from training.drawing.identity import Identity
from training.drawing.painter import Painter
from training.drawing.shapes import Point, oval

MOUTH_Y = 33.0  # the lip line at rest, units below the origin
FULL_OPENING = 18.5  # height of the fully open interior, units
PAINTS = (
    *("upper", "lower", "line", "gloss", "shade", "cavity", "deep", "rim"),
    *("teeth", "teeth_shade", "tongue", "tongue_light"),
)


class Mouth:
    """Draws the mouth of one identity for any expression."""

    def __init__(self, identity: Identity, painter: Painter) -> None:
        self._half_width = identity.mouth_width
        self._upper_lip = 5.4 * identity.lip_fullness
        self._lower_lip = 7.0 * identity.lip_fullness
        self._paints = {name: painter.paint(f"mouth.{name}") for name in PAINTS}

    def draw(self, canvas: skia.Canvas, e: Expression) -> None:
        """Draws the mouth; the canvas has its origin in the middle of the lip line at rest."""
        height = FULL_OPENING * e.opening
        squeeze = 1 - 0.44 * e.round
        half = self._half_width * e.spread * (1 + 0.2 * e.width) * squeeze
        half *= 1 - 0.1 * e.opening * (1 - e.round)
        corner = (-half, -e.corner + 0.22 * height)
        top = 0.6 - 0.24 * height - 1.2 * e.teeth - 0.8 * e.round
        bottom = top + height + 1.2 * e.teeth
        thin = (1 - 0.55 * e.press) * (1 + 0.14 * e.round)
        upper = self._upper_lip * thin * (1 - 0.1 * e.opening)
        lower = self._lower_lip * thin * (1 - 0.12 * e.opening) * (1 - 0.35 * e.teeth)
        bulge = 0.5 + 0.4 * max(e.round, 0.55 * e.opening)
        outline = self._lips(canvas, corner, (top, bottom), (upper, lower), bulge)
        seam = skia.Path()
        _curve(seam, corner, top, bulge, start=True)
        canvas.drawPath(seam, self._paints["line"])
        if height > 0:
            self._inside(canvas, outline, e, (top, bottom), half)

    def _lips(
        self, canvas: skia.Canvas, corner: Point, middles: Point, lips: Point, bulge: float
    ) -> skia.Path:
        """Draws both lips; returns the outline of the opening between them."""
        (x, y), (top, bottom), (upper, lower) = corner, middles, lips
        half = -x
        peak = top - upper
        path = skia.Path()
        path.moveTo(x - 1.2, y)
        path.cubicTo(x * 0.72, y - upper * 0.25, -half * 0.5, peak - 0.2, -half * 0.24, peak)
        path.quadTo(0, peak + upper * 0.42, half * 0.24, peak)
        path.cubicTo(half * 0.5, peak - 0.2, half * 0.72, y - upper * 0.25, half + 1.2, y)
        _curve(path, (half, y), top, bulge)
        path.close()
        under = skia.Path()
        _curve(under, (x - 0.4, y), bottom, bulge, start=True)
        _curve(under, (half + 0.4, y), bottom + lower, min(bulge + 0.12, 0.95))
        under.close()
        canvas.drawPath(under, self._paints["lower"])
        canvas.drawPath(path, self._paints["upper"])
        canvas.drawOval(
            oval((-half * 0.12, bottom + lower * 0.45), (half * 0.3, lower * 0.17)),
            self._paints["gloss"],
        )
        fold = skia.Path()
        fold.moveTo(-half * 0.4, bottom + lower + 2.6)
        fold.quadTo(0, bottom + lower + 4.0, half * 0.4, bottom + lower + 2.6)
        canvas.drawPath(fold, self._paints["shade"])
        outline = skia.Path()
        _curve(outline, (x, y), top, bulge, start=True)
        _curve(outline, (half, y), bottom, bulge)
        outline.close()
        return outline

    def _inside(
        self, canvas: skia.Canvas, outline: skia.Path, e: Expression, middles: Point, half: float
    ) -> None:
        """Draws cavity, tongue and teeth, clipped to the opening."""
        top, bottom = middles
        height = bottom - top
        canvas.save()
        canvas.clipPath(outline, True)
        canvas.drawPaint(self._paints["cavity"])
        canvas.drawOval(
            oval((0, top + height * 0.45), (half * 0.6, height * 0.3)), self._paints["deep"]
        )
        lift = min(max(e.tongue, 0.0), 1.0)
        tongue_top = bottom - 4.4 - 0.12 * height
        tongue_top += (top + 3.6 - tongue_top) * 0.8 * lift
        narrow = half * (0.62 - 0.14 * lift)
        tongue_height = bottom + 5 - tongue_top
        canvas.drawOval(
            oval((0, tongue_top + tongue_height), (narrow, tongue_height)), self._paints["tongue"]
        )
        canvas.drawPath(outline, self._paints["rim"])
        canvas.drawOval(
            oval((0, tongue_top + 2.6), (narrow * 0.34, 1.2)), self._paints["tongue_light"]
        )
        shown = (1 - 0.75 * e.round) * min(5.6, 0.6 * height)
        shown = max(shown, (height + 2.0) * e.teeth)
        row = skia.RRect.MakeRectXY(
            skia.Rect.MakeLTRB(-half * 0.84, top - 12, half * 0.84, top + shown), 3.0, 2.6
        )
        canvas.drawRRect(row, self._paints["teeth"])
        canvas.save()
        canvas.scale(half / 20, 1)
        canvas.clipRRect(
            skia.RRect.MakeRectXY(skia.Rect.MakeLTRB(-16.8, top - 12, 16.8, top + shown), 3.0, 2.6),
            True,
        )
        canvas.drawPaint(self._paints["teeth_shade"])
        canvas.restore()
        canvas.restore()


def _curve(path: skia.Path, end: Point, middle: float, bulge: float, start: bool = False) -> None:
    """One symmetric arc from `end` to its mirror image, passing `middle` at x = 0.

    With `start` it begins a contour, otherwise a straight line leads to `end` first.
    """
    x, y = end
    control = (middle - 0.25 * y) / 0.75
    if start:
        path.moveTo(x, y)
    else:
        path.lineTo(x, y)
    path.cubicTo(x * bulge, control, -x * bulge, control, -x, y)
