"""Colours and paths for the drawings.

A colour is (red, green, blue), 0..255. Lengths are face units: the head of a person is about 100
units wide at the cheeks, x to the right, y down, the origin between the eyes and the nose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import skia

Rgb = tuple[int, int, int]
Point = tuple[float, float]
Circle = tuple[float, float, float]


def mix(first: Rgb, second: Rgb, amount: float) -> Rgb:
    """The colour `amount` (0..1) of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Rgb, amount: float) -> Rgb:
    """`colour` moved towards a warm near-black by `amount` (0..1)."""
    return mix(colour, (42, 22, 34), amount)


def lighter(colour: Rgb, amount: float) -> Rgb:
    """`colour` moved towards a warm white by `amount` (0..1)."""
    return mix(colour, (255, 248, 236), amount)


def argb(colour: Rgb, alpha: float = 1.0) -> int:
    """The colour as skia's packed integer, with opacity `alpha` (0..1)."""
    return int(skia.Color(*colour, round(255 * alpha)))


def fill(colour: Rgb, alpha: float = 1.0) -> skia.Paint:
    """An antialiased paint that fills with one colour."""
    return skia.Paint(AntiAlias=True, Color=argb(colour, alpha))


def line(colour: Rgb, width: float, alpha: float = 1.0) -> skia.Paint:
    """An antialiased paint for strokes `width` units wide with round ends."""
    return skia.Paint(
        AntiAlias=True,
        Color=argb(colour, alpha),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kRound_Cap,
        StrokeJoin=skia.Paint.kRound_Join,
    )


def linear(start: Point, end: Point, *stops: tuple[Rgb, float]) -> skia.Paint:
    """A paint with a straight gradient through evenly spaced (colour, alpha) stops."""
    shader = skia.GradientShader.MakeLinear(
        [skia.Point(*start), skia.Point(*end)], [argb(*stop) for stop in stops]
    )
    return skia.Paint(AntiAlias=True, Shader=shader)


def radial(centre: Point, radius: float, *stops: tuple[Rgb, float]) -> skia.Paint:
    """A paint with a round gradient from `centre` outwards through (colour, alpha) stops."""
    shader = skia.GradientShader.MakeRadial(
        skia.Point(*centre), radius, [argb(*stop) for stop in stops]
    )
    return skia.Paint(AntiAlias=True, Shader=shader)


def glow(canvas: skia.Canvas, centre: Point, radii: Point, colour: Rgb, alpha: float) -> None:
    """Draws a soft oval spot that fades to nothing at `radii`."""
    canvas.save()
    canvas.translate(*centre)
    canvas.scale(radii[0], radii[1])
    half = (colour, alpha * 0.45)
    canvas.drawCircle(0, 0, 1, radial((0, 0), 1, (colour, alpha), half, (colour, 0)))
    canvas.restore()


def oval(centre: Point, radii: Point) -> skia.Rect:
    """The rectangle around an ellipse."""
    (x, y), (width, height) = centre, radii
    return skia.Rect.MakeLTRB(x - width, y - height, x + width, y + height)


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The points of the right side (top to bottom) continued up the left side."""
    return [*points, *((-x, y) for x, y in reversed(points) if x != 0)]


def _add_curve(path: skia.Path, points: Sequence[Point], closed: bool) -> None:
    """Adds a Catmull-Rom curve through `points`, starting at the path's current point."""
    count = len(points)

    def at(index: int) -> Point:
        return points[index % count] if closed else points[min(max(index, 0), count - 1)]

    for index in range(count if closed else count - 1):
        before, start, end, after = (at(index + step) for step in (-1, 0, 1, 2))
        path.cubicTo(
            start[0] + (end[0] - before[0]) / 6,
            start[1] + (end[1] - before[1]) / 6,
            end[0] - (after[0] - start[0]) / 6,
            end[1] - (after[1] - start[1]) / 6,
            *end,
        )


def blob(points: Sequence[Point]) -> skia.Path:
    """A closed smooth shape through `points`."""
    path = skia.Path()
    path.moveTo(*points[0])
    _add_curve(path, points, closed=True)
    path.close()
    return path


def pieces(*curves: Sequence[Point], closed: bool = True) -> skia.Path:
    """A shape of smooth curves one after the other, with corners where they meet."""
    path = skia.Path()
    path.moveTo(*curves[0][0])
    last = curves[0][0]
    for curve in curves:
        if curve[0] != last:
            path.lineTo(*curve[0])
        last = curve[-1]
        _add_curve(path, curve, closed=False)
    if closed:
        path.close()
    return path


def ring(count: int, radii: Point, centre: Point, size: float) -> tuple[Circle, ...]:
    """Circles of radius `size` around an ellipse that is open below, and one that fills it."""
    x, y = centre
    angles = np.linspace(0.80 * np.pi, 2.20 * np.pi, count)
    around = [(x + radii[0] * float(np.cos(a)), y + radii[1] * float(np.sin(a))) for a in angles]
    return (*((*point, size) for point in around), (x, y, min(radii) + size * 0.4))


def ribbon(points: Sequence[Point], widths: Sequence[float]) -> skia.Path:
    """A tapered stroke along `points`, `widths` units wide at each."""
    left: list[Point] = []
    right: list[Point] = []
    for index, (x, y) in enumerate(points):
        before = points[max(index - 1, 0)]
        after = points[min(index + 1, len(points) - 1)]
        along = (after[0] - before[0], after[1] - before[1])
        length = max((along[0] ** 2 + along[1] ** 2) ** 0.5, 1e-6)
        normal = (-along[1] / length, along[0] / length)
        half = widths[index] / 2
        left.append((x + normal[0] * half, y + normal[1] * half))
        right.append((x - normal[0] * half, y - normal[1] * half))
    return blob([*left, *reversed(right)])
