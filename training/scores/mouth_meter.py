"""Measures from pixels alone how far a drawn mouth is open."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MIDDLE = (0.4, 0.6)  # the part of the box's width whose columns are measured
TEETH_ROWS = 0.6  # the part of the box's height, from the top, where teeth can show
FULL_SHARE = 0.40  # the interior's share of the box's height when fully open
Floats = npt.NDArray[np.float32]


def mouth_opening(
    frames: npt.NDArray[np.uint8],
    mouth_box: tuple[float, float, float, float],
    reference: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.float32]:
    """How open the mouth is in each of `frames` (F, H, W, 3): (F,), 0 closed, about 1 full.

    `mouth_box` is (x, y, width, height) in fractions (DrawnScene.mouth_boxes). The opening is the
    height between the highest and the lowest pixel of the inside of the mouth (dark red cavity, or
    teeth next to it), over the middle columns of the box. `reference` (H, W, 3), a frame with a
    closed mouth, removes pixels that only look like the inside, such as a dark red lip line.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"Frames must have the shape (F, H, W, 3), not {frames.shape}.")
    looks = _inside_likeness(_crop(frames, mouth_box))
    if reference is not None:
        closed = _inside_likeness(_crop(reference[None], mouth_box))
        looks = np.clip(looks - 0.8 * _spread(closed), 0.0, 1.0)
    down = np.maximum.accumulate(looks, axis=1)
    up = np.maximum.accumulate(looks[:, ::-1], axis=1)[:, ::-1]
    share = np.minimum(down, up).mean(axis=(1, 2))
    return np.asarray(share / FULL_SHARE, dtype=np.float32)


def _crop(
    frames: npt.NDArray[np.uint8], box: tuple[float, float, float, float]
) -> npt.NDArray[np.uint8]:
    """The middle columns of the box."""
    height, width = frames.shape[1:3]
    x, y, box_width, box_height = box
    left, right = (round((x + part * box_width) * width) for part in MIDDLE)
    top, bottom = round(y * height), round((y + box_height) * height)
    return frames[:, max(top, 0) : bottom, max(left, 0) : max(right, left + 1)]


def _inside_likeness(pixels: npt.NDArray[np.uint8]) -> Floats:
    """For each pixel 0..1, how much it looks like cavity, teeth or tongue."""
    red, green, blue = np.moveaxis(pixels.astype(np.float32), -1, 0)
    redness = np.clip((red - np.maximum(green, blue) - 22) / 26, 0, 1)
    cavity = redness * np.clip((46 - green) / 20, 0, 1) * np.clip((156 - red) / 24, 0, 1)
    lowest = np.minimum(np.minimum(red, green), blue)
    highest = np.maximum(np.maximum(red, green), blue)
    teeth = np.clip((lowest - 192) / 24, 0, 1) * np.clip((42 - highest + lowest) / 16, 0, 1)
    below = np.arange(teeth.shape[1]) >= TEETH_ROWS * teeth.shape[1]
    teeth[:, below] = 0.0  # a white collar may be there
    tongue = np.clip((blue - green - 24) / 14, 0, 1) * np.clip((red - green - 70) / 30, 0, 1)
    return np.asarray(np.max([cavity, teeth, tongue], axis=0), dtype=np.float32)


def _spread(looks: Floats) -> Floats:
    """Each pixel's largest value among its neighbours two rows up and down."""
    padded = np.pad(looks, ((0, 0), (2, 2), (0, 0)))
    rows = looks.shape[1]
    return np.asarray(np.max([padded[:, i : i + rows] for i in range(5)], axis=0))
