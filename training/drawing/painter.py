"""Draws parts of the shape tables.

A step of a part is one shape, in face units (see shapes.py) or in units of the room:

| key | meaning |
|---|---|
| `curves` | smooth curves one after the other, with corners between; `open = true` leaves a gap |
| `band` | two curves, from left to right and back, mirrored or not |
| `blob` | a closed smooth curve; `mirror = true`: the right half of one, top to bottom |
| `circles`, `dots` | circles (x, y, radius) as one shape; each by itself |
| `oval`, `rect`, `line`, `arc` | (x, y, radius x, radius y), (left, top, right, bottom) with \
`corner`, (x, y, x, y), (x, y, radius x, radius y, start, sweep in degrees) |
| `glow` | a soft spot (x, y, radius x, radius y) of `colour` and `alpha` |
| `wash` | all that may be drawn on |
| `use` | the steps of another part |
| `hole`, `minus`, `outside` | a blob cut out, curves taken away, all but the shape |
| `fill`, `stroke` with `width` and `cap`, `gradient`; `alpha` | the step's own paint |
| `paint` | the names of further paints |
| `inside` | steps that show only inside the shape |
| `shadow`, `shine`, `strands`, `curls` | of hair: how low its shadow falls on the skin, a light \
arc, lines, and arcs scattered in a box |
| `side` | "both": once with x mirrored, once as given; "parting": mirrored with the parting |
| `shift`, `at`, `turn` | moves the points; moves and turns the canvas |
| `when` | draw only if this is true |
| `repeat`, `with` | draw so often, counted by `i`; names for this step's expressions |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

import numpy as np
import skia

from training.drawing.shapes import (
    Point,
    Rgb,
    blob,
    fill,
    glow,
    line,
    linear,
    mirrored,
    oval,
    pieces,
    radial,
)
from training.drawing.tables import PAINT_KEYS, Step, Values, shape_tables

_OUTSIDE = skia.Rect.MakeLTRB(-100, -100, 100, 100)  # larger than a head
_DECORATIONS = frozenset({"shine", "strands", "curls", "inside"})


class Painter:
    """Draws parts for one person or room, whose looks are named values."""

    def __init__(self, looks: Mapping[str, Any], rng: np.random.Generator) -> None:
        self._rng = rng
        self._tables = shape_tables()
        self._values = Values({**looks, "uniform": rng.uniform, "random": rng.random})
        self._paints: dict[str, skia.Paint] = {}

    def paint(self, name: str) -> skia.Paint:
        """The paint of that name in this person's colours."""
        if name not in self._paints:
            self._paints[name] = _paint(self._tables.paints[name], self._values)
        return self._paints[name]

    def has(self, part: str) -> bool:
        return part in self._tables.parts

    def draw(self, canvas: skia.Canvas, part: str, **names: Any) -> None:
        """Draw a part; `names` are further values for its expressions."""
        self._draw_part(canvas, part, self._values.extended(names) if names else self._values)

    def _draw_part(self, canvas: skia.Canvas, part: str, values: Values) -> None:
        for step in self._tables.parts[part]:
            self._draw_step(canvas, step, values)

    def _draw_step(self, canvas: skia.Canvas, step: Step, values: Values) -> None:
        for names in _repetitions(step, values):
            own = names.let(step["with"]) if "with" in step else names
            if "when" in step and not own.of(step["when"]):
                continue
            for side in _sides(step, own):
                if "at" in step:
                    self._draw_moved(canvas, step, own, side)
                else:
                    self._draw_once(canvas, step, own, side)

    def _draw_moved(self, canvas: skia.Canvas, step: Step, values: Values, side: int) -> None:
        x, y = values.of(step["at"])
        canvas.save()
        canvas.translate(side * x, y)
        canvas.scale(side, 1)
        if "turn" in step:
            canvas.rotate(values.of(step["turn"]))
        self._draw_once(canvas, step, values, 1)
        canvas.restore()

    def _draw_once(self, canvas: skia.Canvas, step: Step, values: Values, side: int) -> None:
        if "use" in step:
            self._draw_part(canvas, step["use"], values)
        elif "glow" in step:
            x, y, *radii = values.of(step["glow"])
            colour, alpha = values.of(step["colour"]), values.of(step["alpha"])
            glow(canvas, (side * x, y), (radii[0], radii[1]), colour, alpha)
        elif "wash" in step:
            canvas.drawPaint(_paint(step, values))
        elif "dots" in step:
            for x, y, radius in values.of(step["dots"]):
                dot = skia.Path()
                dot.addCircle(side * x, y, radius)
                self._draw_shape(canvas, dot, step, values, side)
        elif shape := _shape(step, values, side):
            self._draw_shape(canvas, shape, step, values, side)
        else:
            self._decorate(canvas, step, values, side)

    def _draw_shape(
        self, canvas: skia.Canvas, shape: skia.Path, step: Step, values: Values, side: int
    ) -> None:
        if "shadow" in step:
            self._cast_shadow(canvas, shape, values.of(step["shadow"]))
        if not PAINT_KEYS.isdisjoint(step):
            _put(canvas, shape, _paint(step, values))
        names = step.get("paint", ())
        for name in (names,) if isinstance(names, str) else names:
            _put(canvas, shape, self.paint(name))
        if not _DECORATIONS.isdisjoint(step):
            canvas.save()
            canvas.clipPath(shape, True)
            self._decorate(canvas, step, values, side)
            canvas.restore()

    def _cast_shadow(self, canvas: skia.Canvas, shape: skia.Path, drop: float) -> None:
        """The shadow of hair on the skin, `drop` units lower."""
        canvas.save()
        canvas.clipPath(blob(mirrored(self._values["skull"])), True)
        canvas.translate(0, drop)
        canvas.drawPath(shape, self.paint("hair.shadow"))
        canvas.restore()

    def _decorate(self, canvas: skia.Canvas, step: Step, values: Values, side: int) -> None:
        """What shows only inside a shape that is clipped to."""
        if "shine" in step:
            canvas.drawPath(pieces(self._values["shine"], closed=False), self.paint("hair.shine"))
        for index, curve in enumerate(values.of(step["strands"]) if "strands" in step else ()):
            paint = self.paint("hair.light_strand" if index % 2 else "hair.strand")
            canvas.drawPath(pieces([(side * x, y) for x, y in curve], closed=False), paint)
        if "curls" in step:
            curls = step["curls"]
            self._scatter_curls(canvas, values.of(curls["box"]), values.of(curls["count"]))
        for inner in step.get("inside", ()):
            self._draw_step(canvas, inner, values)

    def _scatter_curls(self, canvas: skia.Canvas, box: Sequence[float], count: int) -> None:
        left, top, right, bottom = box
        for index in range(count):
            x, y = self._rng.uniform(left, right), self._rng.uniform(top, bottom)
            start = self._rng.uniform(150, 260)
            paint = self.paint("hair.light_strand" if index % 2 else "hair.strand")
            canvas.drawArc(oval((x, y), (4.6, 4.6)), start, 150, False, paint)


def _put(canvas: skia.Canvas, shape: skia.Path, paint: skia.Paint) -> None:
    """Draw a shape; skia draws the edges of a rectangle finer than those of its path."""
    rect = skia.Rect()
    if shape.isRect(rect):
        canvas.drawRect(rect, paint)
    else:
        canvas.drawPath(shape, paint)


def _repetitions(step: Step, values: Values) -> Iterator[Values]:
    if "repeat" not in step:
        yield values
        return
    for index in range(values.of(step["repeat"])):
        yield values.extended({"i": index})


def _sides(step: Step, values: Values) -> tuple[int, ...]:
    """1 for x as given, -1 for x mirrored."""
    if "side" not in step:
        return (1,)
    return (-1, 1) if step["side"] == "both" else (values["hair_side"],)


def _paint(spec: Step, values: Values) -> skia.Paint:
    """The paint of `fill`, `stroke` or `gradient`."""
    alpha = values.of(spec["alpha"]) if "alpha" in spec else 1.0
    if "fill" in spec:
        return fill(values.of(spec["fill"]), alpha)
    if "stroke" in spec:
        paint = line(values.of(spec["stroke"]), values.of(spec["width"]), alpha)
        if spec.get("cap") == "butt":
            paint.setStrokeCap(skia.Paint.kButt_Cap)
        return paint
    gradient: Mapping[str, CodeType] = spec["gradient"]
    stops = [_stop(stop) for stop in values.of(gradient["stops"])]
    if "centre" in gradient:
        return radial(values.of(gradient["centre"]), values.of(gradient["radius"]), *stops)
    return linear(values.of(gradient["from"]), values.of(gradient["to"]), *stops)


def _stop(stop: Any) -> tuple[Rgb, float]:
    """A gradient's stop: a colour, or a colour and its opacity."""
    colour, alpha = stop if len(stop) == 2 else (stop, 1.0)
    return colour, alpha


def _shape(step: Step, values: Values, side: int) -> skia.Path | None:
    """The path of a step; None if it has none."""
    dx, dy = values.of(step["shift"]) if "shift" in step else (0, 0)

    def placed(points: Sequence[Point]) -> list[Point]:
        halves = mirrored(points) if "mirror" in step else points
        return [(side * x + dx, y + dy) for x, y in halves]

    if "curves" in step:
        path = pieces(*map(placed, values.of(step["curves"])), closed="open" not in step)
    elif "band" in step:
        edges = [placed(edge)[::side] for edge in values.of(step["band"])]
        path = pieces(*edges)
    elif "blob" in step:
        path = blob(placed(values.of(step["blob"])))
    else:
        return _simple_shape(step, values, side, (dx, dy))
    if "hole" in step:
        path.addPath(blob(placed(values.of(step["hole"]))))
        path.setFillType(skia.PathFillType.kEvenOdd)
    if "outside" in step:
        path.addRect(_OUTSIDE)
        path.setFillType(skia.PathFillType.kEvenOdd)
    if "minus" in step:
        cut = pieces(*map(placed, values.of(step["minus"])))
        path = skia.Op(path, cut, skia.PathOp.kDifference_PathOp)
    return path


def _simple_shape(step: Step, values: Values, side: int, shift: Point) -> skia.Path | None:
    """Circles, an oval, a rectangle, a line or an arc."""
    path = skia.Path()
    if "circles" in step:
        for x, y, radius in values.of(step["circles"]):
            path.addCircle(side * x + shift[0], y + shift[1], radius)
    elif "oval" in step:
        x, y, width, height = values.of(step["oval"])
        path.addOval(oval((side * x, y), (width, height)))
    elif "rect" in step:
        left, top, right, bottom = values.of(step["rect"])
        left, right = sorted((side * left, side * right))
        rect = skia.Rect.MakeLTRB(left, top, right, bottom)
        if "corner" in step:
            corner = values.of(step["corner"])
            path.addRoundRect(rect, corner, corner)
        else:
            path.addRect(rect)
    elif "line" in step:
        x0, y0, x1, y1 = values.of(step["line"])
        path.moveTo(side * x0, y0)
        path.lineTo(side * x1, y1)
    elif "arc" in step:
        x, y, width, height, start, sweep = values.of(step["arc"])
        path.addArc(oval((x, y), (width, height)), start, sweep)
    else:
        return None
    return path
