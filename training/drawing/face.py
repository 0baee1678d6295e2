"""What of the head moves with the expression but eyes and mouth: skin, cheeks and beard."""

from __future__ import annotations

import skia

from training.drawing.expression import Expression
from training.drawing.identity import Identity
from training.drawing.painter import Painter

CHIN_DROP = 6.5  # how far the chin follows the fully open jaw, units


class Face:
    """Draws skin, cheeks and beard of one identity for any expression."""

    def __init__(self, identity: Identity, painter: Painter) -> None:
        self._painter = painter
        self._under, self._over = f"beard.{identity.beard}.cheeks", f"beard.{identity.beard}.lip"
        self._blush = 0.34 * identity.blush
        self._fair = min(sum(identity.skin) / 560, 1.0) ** 2  # darker skin shows less of it

    def draw_skin(self, canvas: skia.Canvas, e: Expression) -> None:
        """The face, whose chin follows the jaw, and a beard on its cheeks."""
        drop = CHIN_DROP * e.opening
        self._painter.draw(canvas, "face.skin", drop=drop)
        if self._painter.has(self._under):
            self._painter.draw(canvas, self._under, drop=drop)

    def draw_blush(self, canvas: skia.Canvas, e: Expression) -> None:
        """Cheeks, lifted and reddened by a smile."""
        alpha = (self._blush + 0.16 * e.cheek) * self._fair
        self._painter.draw(canvas, "face.blush", blush_y=17 - 2.5 * e.cheek, blush_alpha=alpha)

    def draw_beard_on_lip(self, canvas: skia.Canvas, e: Expression) -> None:
        """Moustache and goatee, which move with lip and chin."""
        if self._painter.has(self._over):
            lift = 4.4 * e.opening + 0.3 * max(e.corner - 3.2, 0)
            self._painter.draw(canvas, self._over, drop=CHIN_DROP * e.opening, lift=lift)
