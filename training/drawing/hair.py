"""The tools that every hairstyle is drawn with."""

from __future__ import annotations

import numpy as np
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
    oval,
    pieces,
)


class Hair:
    """Draws the hair of one identity; nothing of it moves but with the head."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        colour = identity.hair_colour
        self.colour = colour
        self.front = linear(
            (-30, -88),
            (34, 10),
            (lighter(colour, 0.2), 1.0),
            (colour, 1.0),
            (darker(colour, 0.22), 1.0),
        )
        self.back = linear(
            (0, -80), (0, 80), (darker(colour, 0.18), 1.0), (darker(colour, 0.34), 1.0)
        )
        self.shine = line(lighter(colour, 0.5), 5.0, 0.2)
        self.strand = line(darker(colour, 0.36), 1.1, 0.42)
        self.light_strand = line(lighter(colour, 0.35), 1.2, 0.4)
        self.shadow = fill(darker(identity.skin, 0.5), 0.22)
        self.side = identity.hair_side
        self._rng = np.random.default_rng(int(identity.cheek_width * 1e6) % 2**31)

    def mass(self, canvas: skia.Canvas, path: skia.Path, shadow: float = 3.0) -> None:
        """Front hair with its shadow on the skin and its shine."""
        if shadow:
            canvas.save()
            canvas.clipPath(blob(SKULL), True)
            canvas.translate(0, shadow)
            canvas.drawPath(path, self.shadow)
            canvas.restore()
        canvas.drawPath(path, self.front)
        canvas.save()
        canvas.clipPath(path, True)
        arc = pieces([(-40, -44), (-30, -64), (-10, -73), (8, -74)], closed=False)
        canvas.drawPath(arc, self.shine)
        canvas.restore()

    def strands(self, canvas: skia.Canvas, clip: skia.Path, curves: list[list[Point]]) -> None:
        """Thin darker and lighter lines inside the hair."""
        canvas.save()
        canvas.clipPath(clip, True)
        for index, curve in enumerate(curves):
            paint = self.strand if index % 2 == 0 else self.light_strand
            canvas.drawPath(pieces(curve, closed=False), paint)
        canvas.restore()

    def puffs(
        self, canvas: skia.Canvas, centres: list[tuple[float, float, float]], paint: skia.Paint
    ) -> skia.Path:
        """A cloud of circles (x, y, radius)."""
        path = skia.Path()
        for x, y, radius in centres:
            path.addCircle(x, y, radius)
        canvas.drawPath(path, paint)
        return path

    def curls(
        self,
        canvas: skia.Canvas,
        clip: skia.Path,
        box: tuple[float, float, float, float],
        count: int,
    ) -> None:
        """Little arcs scattered over curly hair."""
        left, top, right, bottom = box
        canvas.save()
        canvas.clipPath(clip, True)
        for index in range(count):
            x, y = self._rng.uniform(left, right), self._rng.uniform(top, bottom)
            start = self._rng.uniform(150, 260)
            paint = self.light_strand if index % 2 else self.strand
            canvas.drawArc(oval((x, y), (4.6, 4.6)), start, 150, False, paint)
        canvas.restore()


SKULL = mirrored(
    [(0, -72), (27, -65.5), (46, -41), (50, -12), (46, 14), (38, 35), (20, 54), (0, 60)]
)

# Outer contour of close hair, from the left ear over the top to the right ear.
CAP: list[Point] = [
    (-51.5, -4),
    (-54, -24),
    (-51, -50),
    (-34, -74),
    (0, -83),
    (34, -74),
    (51, -50),
    (54, -24),
    (51.5, -4),
]


def band(inner: list[Point], side: int, outer: list[Point] | None = None) -> skia.Path:
    """Hair between `outer` (left to right) and the hairline `inner` (right to left)."""
    contour = outer or CAP
    if side == -1:
        contour = [(-x, y) for x, y in reversed(contour)]
        inner = [(-x, y) for x, y in reversed(inner)]
    return pieces(contour, inner)
