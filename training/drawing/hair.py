"""Hair behind and in front of the face, and what is worn on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import skia

from training.drawing.shapes import (
    Point,
    Rgb,
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
from training.identity import Identity


class Hair:
    """Draws the hair of one identity; nothing of it moves but with the head."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        colour = identity.hair_colour
        self.colour = colour
        self.front = linear((-30, -88), (34, 10), (lighter(colour, 0.2), 1.0), (colour, 1.0),
                            (darker(colour, 0.22), 1.0))
        self.back = linear((0, -80), (0, 80), (darker(colour, 0.18), 1.0),
                           (darker(colour, 0.34), 1.0))
        self.shine = line(lighter(colour, 0.5), 5.0, 0.2)
        self.strand = line(darker(colour, 0.36), 1.1, 0.42)
        self.light_strand = line(lighter(colour, 0.35), 1.2, 0.4)
        self.shadow = fill(darker(identity.skin, 0.5), 0.22)
        self.side = identity.hair_side
        self._rng = np.random.default_rng(int(identity.cheek_width * 1e6) % 2**31)

    def draw_back(self, canvas: skia.Canvas) -> None:
        """What is behind the neck and the face."""
        draw = _BACK.get(self.identity.hair)
        if draw:
            draw(self, canvas)

    def draw_front(self, canvas: skia.Canvas) -> None:
        """What is over the forehead and beside the face."""
        draw = _FRONT.get(self.identity.hair)
        if draw:
            draw(self, canvas)

    def mass(self, canvas: skia.Canvas, path: skia.Path, shadow: float = 3.0) -> None:
        """Front hair with its shadow on the skin and its shine."""
        if shadow:
            canvas.save()
            canvas.clipPath(blob(_SKULL), True)
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

    def puffs(self, canvas: skia.Canvas, centres: list[tuple[float, float, float]],
              paint: skia.Paint) -> skia.Path:
        """A cloud of circles (x, y, radius)."""
        path = skia.Path()
        for x, y, radius in centres:
            path.addCircle(x, y, radius)
        canvas.drawPath(path, paint)
        return path

    def curls(self, canvas: skia.Canvas, clip: skia.Path, box: tuple[float, float, float, float],
              count: int) -> None:
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


_SKULL = mirrored([(0, -72), (27, -65.5), (46, -41), (50, -12), (46, 14), (38, 35), (20, 54),
                   (0, 60)])

# Outer contour of close hair, from the left ear over the top to the right ear.
_CAP: list[Point] = [(-51.5, -4), (-54, -24), (-51, -50), (-34, -74), (0, -83), (34, -74),
                     (51, -50), (54, -24), (51.5, -4)]


def _band(inner: list[Point], side: int, outer: list[Point] | None = None) -> skia.Path:
    """Hair between `outer` (left to right) and the hairline `inner` (right to left)."""
    contour = outer or _CAP
    if side == -1:
        contour = [(-x, y) for x, y in reversed(contour)]
        inner = [(-x, y) for x, y in reversed(inner)]
    return pieces(contour, inner)


def _front_crop(hair: Hair, canvas: skia.Canvas) -> None:
    path = _band([(48, 2), (45.5, -14), (43, -34), (30, -47), (6, -49), (-20, -44), (-38, -40),
                  (-44, -30), (-46, -12), (-48, 2)], hair.side)
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(-30, -70), (-10, -62), (14, -50)], [(-8, -78), (14, -66), (34, -48)],
                                [(18, -80), (38, -64), (48, -40)]])


def _front_side_part(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [(-51.5, -2), (-54, -24), (-51, -52), (-30, -80), (8, -90), (40, -78),
                          (54, -50), (54.5, -24), (51.5, -2)]
    path = _band([(48, 4), (46, -14), (44, -34), (36, -44), (10, -46), (-14, -53), (-26, -64),
                  (-34, -50), (-43, -36), (-46, -14), (-48, 4)], s, outer)
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in curve] for curve in (
        [(-24, -66), (4, -78), (36, -58), (46, -34)], [(-20, -60), (10, -66), (38, -48)],
        [(-28, -66), (-40, -58), (-48, -34)])])


def _front_quiff(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [(-51, 0), (-53, -24), (-50, -52), (-42, -78), (-16, -96), (16, -101),
                          (42, -92), (52, -72), (54, -44), (53.5, -22), (51, 0)]
    path = _band([(47.5, 2), (46, -16), (44, -36), (36, -52), (10, -57), (-18, -56), (-38, -49),
                  (-44, -34), (-46, -14), (-47.5, 2)], s, outer)
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in curve] for curve in (
        [(-30, -56), (-20, -80), (14, -93), (40, -84)], [(-12, -58), (2, -76), (30, -84)],
        [(8, -58), (22, -70), (44, -72)], [(-40, -52), (-36, -74), (-14, -90)])])


def _front_messy(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [(-51, 0), (-56, -20), (-53, -40), (-58, -54), (-46, -66), (-44, -82),
                          (-24, -84), (-8, -97), (8, -88), (28, -92), (36, -78), (52, -72),
                          (52, -54), (58, -38), (53, -22), (51, 0)]
    path = pieces([(s * x, y) for x, y in outer],
                  [(s * 48, 3), (s * 45, -18), (s * 44, -36)],
                  [(s * 44, -36), (s * 36, -42), (s * 26, -36)],
                  [(s * 26, -36), (s * 20, -46), (s * 6, -38)],
                  [(s * 6, -38), (s * -2, -50), (s * -18, -40)],
                  [(s * -18, -40), (s * -26, -50), (s * -40, -40)],
                  [(s * -40, -40), (s * -45, -22), (s * -48, 3)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in curve] for curve in (
        [(-10, -90), (0, -66), (6, -42)], [(20, -88), (24, -64), (26, -40)],
        [(-34, -80), (-24, -62), (-18, -44)], [(40, -76), (44, -58), (44, -38)])])


def _front_buzz(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [(-49.5, -4), (-50.5, -22), (-47.5, -46), (-30, -68), (0, -76), (30, -68),
                          (47.5, -46), (50.5, -22), (49.5, -4)]
    path = _band([(48, -2), (45.5, -18), (42, -38), (34, -51), (0, -54), (-34, -51), (-42, -38),
                  (-45.5, -18), (-48, -2)], 1, outer)
    paint = linear((-30, -88), (34, 0), (mix(hair.colour, hair.identity.skin, 0.22), 1.0),
                   (mix(hair.colour, hair.identity.skin, 0.12), 1.0))
    canvas.drawPath(path, paint)


def _front_receding(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        path = pieces([(s * 50, 8), (s * 55, -8), (s * 55, -30), (s * 49, -50), (s * 40, -60)],
                      [(s * 40, -60), (s * 42, -44), (s * 45, -22), (s * 46, -2), (s * 50, 8)])
        canvas.drawPath(path, hair.front)


def _front_curly_top(hair: Hair, canvas: skia.Canvas) -> None:
    sides = _band([(47.5, 2), (46, -16), (43, -38), (30, -50), (-30, -50), (-43, -38), (-46, -16),
                   (-47.5, 2)], 1)
    canvas.drawPath(sides, hair.front)
    puffs = [(-40.0, -58.0, 12.0), (-28, -70, 14), (-10, -79, 15), (10, -80, 15), (28, -72, 14),
             (40, -59, 12), (-33, -50, 9), (-18, -54, 11), (0, -55, 11), (18, -53, 11),
             (33, -49, 9), (0, -66, 15), (-20, -64, 13), (20, -64, 13)]
    shade = [(x, y + 3.0, r) for x, y, r in puffs]
    hair.puffs(canvas, shade[6:11], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-46, -90, 46, -44), 34)


def _front_afro_short(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [(-51, -2), (-57, -22), (-58, -48), (-46, -76), (-20, -90), (0, -92),
                          (20, -90), (46, -76), (58, -48), (57, -22), (51, -2)]
    path = _band([(47.5, -2), (45.5, -18), (42.5, -38), (34, -49), (0, -52), (-34, -49),
                  (-42.5, -38), (-45.5, -18), (-47.5, -2)], 1, outer)
    hair.mass(canvas, path)
    hair.curls(canvas, path, (-56, -92, 56, -8), 46)


def _cloud(count: int, radii: Point, centre: Point, puff: float) -> list[tuple[float, float, float]]:
    """Circles around an ellipse, open at the bottom, and the ellipse filled."""
    angles = np.linspace(0.80 * np.pi, 2.20 * np.pi, count)
    ring = [(centre[0] + radii[0] * float(np.cos(a)), centre[1] + radii[1] * float(np.sin(a)), puff)
            for a in angles]
    return [*ring, (centre[0], centre[1], min(radii) + puff * 0.4)]


def _back_afro(hair: Hair, canvas: skia.Canvas) -> None:
    path = hair.puffs(canvas, _cloud(17, (60, 58), (0, -36), 14), hair.back)
    hair.curls(canvas, path, (-74, -108, 74, 20), 70)


def _front_afro(hair: Hair, canvas: skia.Canvas) -> None:
    puffs = [(float(x), -50.0 - 9 * (1 - (x / 40) ** 2), 11.5) for x in range(-40, 41, 10)]
    puffs += [(-46, -36, 9), (46, -36, 9), (-48, -22, 7), (48, -22, 7), (-30, -66, 16),
              (0, -76, 18), (30, -66, 16)]
    hair.puffs(canvas, [(x, y + 2.5, r) for x, y, r in puffs[:13]], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-54, -92, 54, -20), 40)


def _back_curly(hair: Hair, canvas: skia.Canvas) -> None:
    puffs = _cloud(13, (52, 50), (0, -32), 14)
    for side in (-1, 1):
        puffs += [(side * 55.0, 2.0, 15.0), (side * 56, 20, 15), (side * 52, 38, 15),
                  (side * 44, 52, 13)]
    canvas.drawPath(blob(mirrored([(0, -60), (48, -30), (50, 40), (30, 58), (0, 56)])), hair.back)
    path = hair.puffs(canvas, puffs, hair.back)
    hair.curls(canvas, path, (-70, -96, 70, 64), 80)


def _front_curly(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    puffs = [(s * x, y, r) for x, y, r in (
        (-44.0, -34.0, 10.0), (-38, -48, 11), (-26, -58, 12), (-10, -64, 13), (8, -60, 13),
        (24, -52, 13), (38, -42, 12), (46, -28, 10), (-30, -70, 14), (0, -76, 15), (28, -70, 14),
        (-49, -18, 8), (50, -12, 9), (51, 4, 8), (-51, -2, 8))]
    hair.puffs(canvas, [(x, y + 2.5, r) for x, y, r in puffs[:8]], hair.shadow)
    path = hair.puffs(canvas, puffs, hair.front)
    hair.curls(canvas, path, (-56, -90, 56, 6), 46)


def _back_bob(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(pieces([(-48, 44), (-60, 30), (-62, -10), (-56, -52), (-34, -78), (0, -86),
                            (34, -78), (56, -52), (62, -10), (60, 30), (48, 44)],
                           [(48, 44), (24, 50), (0, 51), (-24, 50), (-48, 44)]), hair.back)


def _locks(hair: Hair, canvas: skia.Canvas, bottom: float) -> None:
    """Hair falling on both sides of the face."""
    for s in (-1, 1):
        path = pieces([(s * 38, -50), (s * 50, -50), (s * 58, -24), (s * 61.5, 8),
                       (s * 60, bottom - 12), (s * 51, bottom)],
                      [(s * 51, bottom), (s * 47.5, bottom - 16), (s * 49, 6), (s * 46, -18),
                       (s * 38, -50)])
        canvas.drawPath(path, hair.front)


def _front_bob(hair: Hair, canvas: skia.Canvas) -> None:
    _locks(hair, canvas, 44)
    outer: list[Point] = [(-54, -18), (-56, -42), (-40, -74), (0, -87), (40, -74), (56, -42),
                          (54, -18)]
    path = pieces(outer, [(54, -18), (48, -24), (45, -33)],
                  [(45, -33), (24, -38), (0, -39), (-24, -38), (-45, -33)],
                  [(-45, -33), (-48, -24), (-54, -18)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(-26, -70), (-27, -52), (-27, -38)], [(-8, -76), (-9, -56), (-9, -38)],
                                [(12, -76), (12, -56), (12, -38)], [(30, -70), (31, -52), (31, -37)]])


def _back_long(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(pieces([(-52, 112), (-66, 90), (-65, 30), (-60, -20), (-54, -54), (-32, -80),
                            (0, -88), (32, -80), (54, -54), (60, -20), (65, 30), (66, 90),
                            (52, 112)]), hair.back)


def _front_centre_part(hair: Hair, canvas: skia.Canvas, bottom: float) -> None:
    _locks(hair, canvas, bottom)
    outer: list[Point] = [(-56.5, -6), (-58, -34), (-44, -72), (-18, -86), (0, -87), (18, -86),
                          (44, -72), (58, -34), (56.5, -6)]
    path = pieces(outer, [(56.5, -6), (48, -12), (43, -28), (28, -46), (8, -60), (0, -66)],
                  [(0, -66), (-8, -60), (-28, -46), (-43, -28), (-48, -12), (-56.5, -6)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in c] for s in (-1, 1) for c in (
        [(4, -76), (28, -62), (46, -32)], [(2, -70), (20, -58), (40, -36)])])


def _front_long(hair: Hair, canvas: skia.Canvas) -> None:
    _front_centre_part(hair, canvas, 84)


def _front_long_side(hair: Hair, canvas: skia.Canvas) -> None:
    _locks(hair, canvas, 84)
    _front_sweep(hair, canvas)


def _front_sweep(hair: Hair, canvas: skia.Canvas) -> None:
    """Parted on one side, swept over the forehead to the other."""
    s = hair.side
    outer: list[Point] = [(-56, -6), (-57, -36), (-42, -74), (-8, -88), (28, -83), (52, -56),
                          (58, -30), (56.5, -2)]
    hairline: list[Point] = [(56.5, -2), (48.5, -10), (45, -26), (30, -36), (6, -46), (-16, -58),
                             (-24, -68)]
    short: list[Point] = [(-24, -68), (-32, -52), (-43, -34), (-47.5, -14), (-56, -6)]
    path = pieces(*([(s * x, y) for x, y in part] for part in (outer, hairline, short)))
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in curve] for curve in (
        [(-22, -72), (10, -66), (40, -44), (52, -14)], [(-22, -70), (8, -56), (36, -38)],
        [(-26, -74), (14, -78), (48, -50)], [(-26, -70), (-42, -54), (-50, -20)])])


def _back_wavy(hair: Hair, canvas: skia.Canvas) -> None:
    right: list[Point] = [(0, -88), (32, -80), (54, -54), (58, -30), (66, -10), (62, 8), (71, 26),
                          (66, 44), (75, 62), (68, 80), (72, 96), (50, 108), (0, 100)]
    canvas.drawPath(blob(mirrored(right)), hair.back)


def _front_wavy(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        path = pieces([(s * 40, -46), (s * 55, -34), (s * 63, -10), (s * 60, 8), (s * 68, 26),
                       (s * 63, 44), (s * 71, 62), (s * 62, 86)],
                      [(s * 62, 86), (s * 54, 70), (s * 57, 52), (s * 50, 36), (s * 53, 20),
                       (s * 48, 4), (s * 47, -18), (s * 40, -46)])
        canvas.drawPath(path, hair.front)
        hair.strands(canvas, path, [[(s * 52, -26), (s * 57, -8), (s * 54, 10), (s * 61, 28),
                                     (s * 57, 46), (s * 64, 66)]])
    _front_sweep(hair, canvas)


def _front_fringe_long(hair: Hair, canvas: skia.Canvas) -> None:
    _locks(hair, canvas, 84)
    outer: list[Point] = [(-56, -14), (-57, -42), (-40, -75), (0, -87), (40, -75), (57, -42),
                          (56, -14)]
    path = pieces(outer, [(56, -14), (49, -16), (44, -27)],
                  [(44, -27), (26, -36), (0, -41), (-26, -36), (-44, -27)],
                  [(-44, -27), (-49, -16), (-56, -14)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(x * 0.8, -74), (x * 0.95, -56), (x, -37)]
                                for x in (-30, -15, 0, 15, 30)])


def _pulled_back(hair: Hair, canvas: skia.Canvas) -> None:
    outer: list[Point] = [(-51, 2), (-53.5, -22), (-50, -50), (-33, -74), (0, -82), (33, -74),
                          (50, -50), (53.5, -22), (51, 2)]
    path = _band([(48, 4), (45, -18), (40, -40), (26, -53), (0, -57), (-26, -53), (-40, -40),
                  (-45, -18), (-48, 4)], 1, outer)
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(x, -54 + abs(x) * 0.2), (x * 0.8, -66), (x * 0.45, -80)]
                                for x in (-38, -26, -13, 0, 13, 26, 38)])


def _bun(hair: Hair, canvas: skia.Canvas, centre: Point, radius: float) -> None:
    x, y = centre
    canvas.drawCircle(x, y, radius, hair.front)
    for share in (0.45, 0.75):
        canvas.drawArc(oval((x, y + radius * 0.2), (radius * share, radius * share)), 190, 160,
                       False, hair.strand if share > 0.5 else hair.light_strand)


def _back_bun(hair: Hair, canvas: skia.Canvas) -> None:
    _bun(hair, canvas, (0, -91), 19 if hair.identity.hair == "bun" else 13)


def _back_space_buns(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        _bun(hair, canvas, (s * 38, -80), 17)


def _back_ponytail(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    tail: list[Point] = [(s * 22, -76), (s * 50, -84), (s * 72, -60), (s * 78, -20), (s * 72, 24),
                         (s * 84, 56), (s * 62, 46), (s * 54, 10), (s * 54, -30)]
    path = blob(tail)
    canvas.drawPath(path, hair.back)
    hair.strands(canvas, path, [[(s * 40, -72), (s * 62, -48), (s * 66, -4), (s * 66, 30)],
                                [(s * 34, -76), (s * 66, -62), (s * 72, -10), (s * 74, 40)]])
    canvas.drawPath(pieces([(s * 32, -84), (s * 42, -72), (s * 44, -60)], closed=False),
                    line(hair.identity.accessory_colour, 6))


def _front_pixie(hair: Hair, canvas: skia.Canvas) -> None:
    s = hair.side
    outer: list[Point] = [(-50, 6), (-55, -14), (-56, -44), (-38, -76), (-4, -88), (30, -83),
                          (52, -60), (57, -34), (54, -8), (49, 10)]
    path = pieces([(s * x, y) for x, y in outer],
                  [(s * 49, 10), (s * 46, -8), (s * 44, -22)],
                  [(s * 44, -22), (s * 34, -33), (s * 12, -42), (s * -14, -56), (s * -22, -64)],
                  [(s * -22, -64), (s * -34, -50), (s * -43, -34), (s * -46, -12), (s * -50, 6)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in curve] for curve in (
        [(-22, -74), (12, -66), (40, -36)], [(-18, -68), (10, -54), (34, -35)],
        [(-26, -78), (16, -80), (48, -50)])])


def _back_braids(hair: Hair, canvas: skia.Canvas) -> None:
    canvas.drawPath(blob(mirrored([(0, -60), (52, -40), (52, 20), (40, 40), (0, 44)])), hair.back)


def _front_braids(hair: Hair, canvas: skia.Canvas) -> None:
    for s in (-1, 1):
        for step in range(6):
            y = 16 + step * 13.5
            x = s * (53 + 1.2 * step)
            canvas.drawOval(oval((x, y), (9.2 - 0.5 * step, 9.0)), hair.front)
            knot = pieces([(x - 7, y - 4), (x, y + 3), (x + 7, y - 4)], closed=False)
            canvas.drawPath(knot, hair.strand)
        canvas.drawRoundRect(skia.Rect.MakeXYWH(s * 60 - 5.5, 91, 11, 6), 3, 3,
                             fill(hair.identity.accessory_colour))
    outer: list[Point] = [(-57, 14), (-57.5, -30), (-44, -70), (-18, -84), (0, -85), (18, -84),
                          (44, -70), (57.5, -30), (57, 14)]
    path = pieces(outer, [(57, 14), (48, 6), (45, -22), (30, -46), (8, -60), (0, -66)],
                  [(0, -66), (-8, -60), (-30, -46), (-45, -22), (-48, 6), (-57, 14)])
    hair.mass(canvas, path)
    hair.strands(canvas, path, [[(s * x, y) for x, y in c] for s in (-1, 1) for c in (
        [(4, -76), (30, -60), (49, -24)], [(2, -70), (22, -56), (44, -24)])])


def scarf_colours(identity: Identity) -> tuple[Rgb, Rgb]:
    """Colour and fold colour of a headscarf or a hat."""
    colour = identity.clothes_second
    return colour, darker(colour, 0.28)


def _back_hijab(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    paint = linear((0, -80), (0, 100), (colour, 1.0), (fold, 1.0))
    canvas.drawPath(blob(mirrored([(0, -88), (38, -78), (58, -46), (60, -4), (56, 34), (60, 62),
                                   (46, 84), (0, 92)])), paint)


def _front_hijab(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    paint = linear((-40, -80), (50, 60), (lighter(colour, 0.25), 1.0), (colour, 1.0),
                   (darker(colour, 0.2), 1.0))
    outer = mirrored([(0, -88), (38, -78), (58, -46), (60, -4), (55, 34), (44, 58), (24, 74),
                      (0, 78)])
    hole = mirrored([(0, -55), (24, -50), (40, -32), (45.5, -6), (43, 20), (34, 42), (19, 58),
                     (0, 66.5)])
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
    for curve in ([(-8, -82), (30, -66), (52, -28), (50, 14), (36, 48)],
                  [(-22, -78), (-50, -42), (-53, 2), (-44, 40), (-24, 66)],
                  [(40, 52), (10, 72), (-26, 68)]):
        canvas.drawPath(pieces([(s * x, y) for x, y in curve], closed=False), paint_fold)


def _front_beanie(hair: Hair, canvas: skia.Canvas) -> None:
    colour, fold = scarf_colours(hair.identity)
    if hair.identity.presentation == "feminine":
        _locks(hair, canvas, 62)
    else:
        for s in (-1, 1):
            canvas.drawPath(pieces([(s * 47, -40), (s * 53, -30), (s * 52, -2), (s * 48.5, 2)],
                                   [(s * 48.5, 2), (s * 45.5, -20), (s * 47, -40)]), hair.front)
    crown = blob(mirrored([(0, -100), (30, -93), (50, -68), (55, -40), (40, -34), (0, -32)]))
    canvas.save()
    canvas.clipPath(blob(_SKULL), True)
    canvas.drawPath(blob(mirrored([(0, -50), (54, -44), (56, -30), (30, -33.5), (0, -34.5)])),
                    hair.shadow)
    canvas.restore()
    canvas.drawPath(crown, linear((-40, -96), (46, -34), (lighter(colour, 0.25), 1.0),
                                  (colour, 1.0), (darker(colour, 0.22), 1.0)))
    brim = pieces([(-57, -33), (-58, -46), (-53, -56)], [(-53, -56), (-28, -62), (0, -64),
                  (28, -62), (53, -56)], [(53, -56), (58, -46), (57, -33)],
                  [(57, -33), (30, -39), (0, -41), (-30, -39), (-57, -33)])
    canvas.drawPath(brim, linear((-50, -50), (50, -40), (lighter(colour, 0.16), 1.0),
                                 (darker(colour, 0.16), 1.0)))
    canvas.save()
    canvas.clipPath(brim, True)
    for x in range(-56, 57, 7):
        canvas.drawLine(x * 0.96, -66, x, -30, line(fold, 1.2, 0.4))
    canvas.restore()


def _back_beanie(hair: Hair, canvas: skia.Canvas) -> None:
    if hair.identity.presentation == "feminine":
        canvas.drawPath(blob(mirrored([(0, -60), (52, -40), (60, 10), (60, 52), (46, 66),
                                       (0, 62)])), hair.back)


_Draw = Callable[[Hair, skia.Canvas], None]
_BACK: dict[str, _Draw] = {
    "bob": _back_bob, "long": _back_long, "long_side": _back_long, "wavy": _back_wavy,
    "bun": _back_bun, "man_bun": _back_bun, "ponytail": _back_ponytail, "curly": _back_curly,
    "afro": _back_afro, "braids": _back_braids, "space_buns": _back_space_buns,
    "hijab": _back_hijab, "fringe_long": _back_long, "beanie": _back_beanie,
}
_FRONT: dict[str, _Draw] = {
    "bob": _front_bob, "long": _front_long, "long_side": _front_long_side, "wavy": _front_wavy,
    "bun": _pulled_back, "man_bun": _pulled_back, "ponytail": _pulled_back,
    "space_buns": _pulled_back, "curly": _front_curly,
    "afro": _front_afro, "pixie": _front_pixie, "braids": _front_braids, "hijab": _front_hijab,
    "fringe_long": _front_fringe_long, "beanie": _front_beanie, "crop": _front_crop,
    "quiff": _front_quiff, "side_part": _front_side_part, "curly_top": _front_curly_top,
    "afro_short": _front_afro_short, "buzz": _front_buzz, "messy": _front_messy,
    "receding": _front_receding,
}
