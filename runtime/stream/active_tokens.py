"""Which tokens of a picture can move: the people in it, as their face boxes tell.

What never moves need not be denoised: a stream whose model predicts a change to the picture runs
the transformer on some tokens of the grid and leaves the others at the picture. Engines have static
shapes, so the number of tokens is one of few (`SHARES`), filled up with the likeliest others.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from runtime.values import Box

SHARES = (Fraction(3, 4), Fraction(7, 8), Fraction(1))  # of the grid's tokens

# Hair, a swaying head and breathing shoulders reach beyond a face box. A person is these two
# rectangles: (half width, top, bottom) in widths and heights of the box, from its middle. With
# REACH around them they hold all that moves in drawn people: tokens left out differ from the
# picture at rest by less than half a level of 255, root mean square over a minute.
PERSON = ((0.6, -1.2, 0.7), (0.75, 0.6, np.inf))  # head and hair, shoulders
REACH = 0.065  # of the picture, from a person to a token's middle


def moving_tokens(boxes: Sequence[Box], rows: int, columns: int) -> tuple[int, ...] | None:
    """Ascending indices into a grid of rows x columns tokens; None where all may move."""
    distance = _distance(boxes, rows, columns).ravel()
    needed = int((distance <= REACH).sum())
    counts = [int(share * len(distance)) for share in SHARES]
    count = next(count for count in counts if count >= needed)
    if count == len(distance):
        return None
    likeliest = np.argsort(distance, kind="stable")[:count]
    return tuple(sorted(int(token) for token in likeliest))


def _distance(boxes: Sequence[Box], rows: int, columns: int) -> NDArray[np.float64]:
    """From each token's middle (rows, columns) to the nearest person, in pictures; 0 inside."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    found = []
    for box in boxes:
        middle_x, middle_y = box.centre
        for half_width, top, bottom in PERSON:
            aside = np.abs(x - middle_x) - half_width * box.width
            above = middle_y + top * box.height - y
            below = y - middle_y - bottom * box.height
            off = np.maximum(above, below).clip(min=0)
            found.append(np.hypot(aside.clip(min=0), off))
    return np.asarray(np.min(found, axis=0))
