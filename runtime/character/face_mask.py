"""Face boxes to soft masks that route each speaker's voice to that speaker's face.

As in the release, a box is enlarged three times about its centre and clipped to the image. Where
the enlarged boxes of several speakers overlap, they are split half-way between the faces with a
soft edge, so that the masks sum to at most 1 everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadInput
from runtime.values import Box

if TYPE_CHECKING:
    from torch import Tensor

ENLARGED = 3.0  # width and height, as the release enlarges its detector's box
SOFTNESS = 0.015  # of the image; the split goes from 10 % to 90 % over about twice this
SAMPLES_PER_CELL = 8  # along each side of a cell, for its mean
EDGE_TOLERANCE = 1e-3  # of the image; boxes from detectors are rounded
MOST_FACES = 8  # each costs masks, audio features and a place in the queue of speech
SAME_FACE = 0.9  # intersection over union above which two boxes are one face

Bounds = Box | tuple[float, float, float, float]  # x, y, width, height
Masks = NDArray[np.float32]
Floats = NDArray[np.float64]


def token_masks(boxes: Sequence[Bounds], rows: int, columns: int) -> Masks:
    """Masks of the speakers on a grid of `rows` x `columns` cells: (S, rows, columns), 0..1."""
    boxes = check_boxes(boxes)
    y = (np.arange(rows * SAMPLES_PER_CELL) + 0.5)[:, None] / (rows * SAMPLES_PER_CELL)
    x = (np.arange(columns * SAMPLES_PER_CELL) + 0.5)[None, :] / (columns * SAMPLES_PER_CELL)
    inside = np.stack([_distance(box, x, y, ENLARGED) <= 0 for box in boxes])
    outside_face = np.stack([_distance(box, x, y, 1.0) for box in boxes])
    nearest = np.where(inside, outside_face, np.inf).min(0)
    nearest = np.where(inside.any(0), nearest, 0)
    weight = np.exp(np.minimum(nearest - outside_face, 0) / SOFTNESS) * inside
    share = weight / np.maximum(weight.sum(0), 1e-12)
    cells = share.reshape(len(boxes), rows, SAMPLES_PER_CELL, columns, SAMPLES_PER_CELL)
    masks: Masks = cells.mean((2, 4)).astype(np.float32)
    return masks


def face_masks(boxes: Sequence[Bounds], rows: int, columns: int, patch: int = 2) -> Tensor:
    """`token_masks` on the latent grid, (S, rows, columns): a token's value in all its cells.

    The denoiser reads one cell of each patch x patch block, so the two grids agree exactly.
    BadInput if the grid does not divide into tokens.
    """
    if rows % patch or columns % patch:
        raise BadInput(
            f"{rows} x {columns} latents do not divide into tokens of {patch} x {patch}. "
            f"Use multiples of {patch}."
        )
    import torch  # here, so that boxes can be checked without torch

    tokens = token_masks(boxes, rows // patch, columns // patch)
    return torch.from_numpy(tokens.repeat(patch, axis=1).repeat(patch, axis=2))


def check_boxes(bounds: Sequence[Bounds]) -> list[Box]:
    """The boxes, if each has an area, lies in the image and is another face; else BadInput.

    At most MOST_FACES are taken.
    """
    if len(bounds) > MOST_FACES:
        raise BadInput(
            f"There are {len(bounds)} face boxes; at most {MOST_FACES} are allowed. Leave some "
            "out.",
            param="box",
        )
    boxes = [Box(*one) for one in bounds]
    if not boxes:
        raise BadInput(
            "There is no face box. Give one per speaker, as fractions of the picture: "
            "x, y (top left), width, height.",
            param="box",
        )
    for number, box in enumerate(boxes, start=1):
        _check_box(number, box)
    for second in range(len(boxes)):
        for first in range(second):
            if overlap(boxes[first], boxes[second]) > SAME_FACE:
                raise BadInput(
                    f"Boxes {first + 1} and {second + 1} are the same face. "
                    "Give each speaker another box.",
                    param="box",
                )
    return boxes


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.right, b.right) - max(a.x, b.x)
    height = min(a.bottom, b.bottom) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def _check_box(number: int, box: Box) -> None:
    found = f"Box {number} is x={box.x}, y={box.y}, width={box.width}, height={box.height}"
    expected = "Use fractions of the picture with x + width <= 1 and y + height <= 1"
    if not all(math.isfinite(side) for side in (box.x, box.y, box.width, box.height)):
        raise BadInput(f"{found}: not numbers. {expected}.", param="box")
    if box.width <= 0 or box.height <= 0:
        raise BadInput(f"{found}: it has no area. {expected}.", param="box")
    low, high = -EDGE_TOLERANCE, 1 + EDGE_TOLERANCE
    if box.x < low or box.y < low or box.right > high or box.bottom > high:
        raise BadInput(f"{found}: it leaves the picture. {expected}, not pixels.", param="box")


def _distance(box: Box, x: Floats, y: Floats, scale: float) -> Floats:
    """Signed distance (rows, columns) to the box's edge, in image sides; negative inside."""
    centre_x, centre_y = box.centre
    return np.maximum(
        np.abs(x - centre_x) - scale * box.width / 2, np.abs(y - centre_y) - scale * box.height / 2
    )
