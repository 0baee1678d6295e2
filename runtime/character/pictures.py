"""Reference images: decoded, cropped and scaled to a size, shown with their face boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.character.picture_file import WHITE, read_picture
from runtime.errors import BadInput
from runtime.values import Box, Pixels

RED = (220, 30, 60)
LEAST_KEPT = 0.75  # of a face box's area, when the image is cropped


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceImage:
    """A decoded image file: pixels (H, W, 3) uint8 RGB, read-only."""

    file: Path
    pixels: Pixels

    @classmethod
    def load(cls, file: Path) -> "ReferenceImage":
        """Decodes the file; BadInput as `read_picture`."""
        pixels = pixels_of(read_picture(file))
        pixels.setflags(write=False)
        return cls(file, pixels)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def fit_picture(
    picture: Image.Image,
    boxes: Sequence[Box],
    width: int,
    height: int,
    shown_size: tuple[int, int] | None = None,
) -> tuple[Image.Image, tuple[Box, ...]]:
    """Crops to the aspect ratio of width x height around the faces and scales; boxes follow.

    BadInput if a face does not fit into the crop; it names `shown_size`, in pixels, as the
    picture's size if that was larger before.
    """
    across, down = picture.size
    scale = max(width / across, height / down)
    crop_across, crop_down = width / scale, height / scale
    left = _crop_start(across, crop_across, [(b.x * across, b.right * across) for b in boxes])
    top = _crop_start(down, crop_down, [(b.y * down, b.bottom * down) for b in boxes])
    fitted = picture.resize(
        (width, height),
        Image.Resampling.LANCZOS,
        box=(left, top, min(left + crop_across, across), min(top + crop_down, down)),
    )
    crop = Box(left / across, top / down, crop_across / across, crop_down / down)
    moved = tuple(_moved(box, crop) for box in boxes)
    for number, (box, place) in enumerate(zip(boxes, moved, strict=True), start=1):
        kept = place.width * crop.width * place.height * crop.height
        if kept < LEAST_KEPT * box.width * box.height:
            raise _does_not_fit(number, shown_size or picture.size, crop, (width, height))
    return fitted, moved


def numbered_preview(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """A copy of the image with the boxes drawn and numbered from 1."""
    preview = picture.convert("RGB")
    draw = ImageDraw.Draw(preview)
    line = max(2, min(preview.size) // 128)
    font = ImageFont.load_default(size=max(12, min(preview.size) // 14))
    for number, box in enumerate(boxes, start=1):
        corners = (
            box.x * preview.width,
            box.y * preview.height,
            box.right * preview.width,
            box.bottom * preview.height,
        )
        draw.rectangle(corners, outline=WHITE, width=line + 2)
        draw.rectangle(corners, outline=RED, width=line)
        at = (corners[0] + 2 * line, corners[1] + line)
        draw.text(
            at, str(number), font=font, fill=(220, 30, 60), stroke_width=2, stroke_fill="white"
        )
    return preview


def pixels_of(picture: Image.Image) -> Pixels:
    """RGB bytes (H, W, 3)."""
    return np.asarray(picture.convert("RGB"), np.uint8)


def _crop_start(length: float, crop: float, faces: list[tuple[float, float]]) -> float:
    """The start of a crop that is centred on the faces, as far as the image allows."""
    low = min((start for start, _ in faces), default=0.0)
    high = max((stop for _, stop in faces), default=length)
    return min(max((low + high - crop) / 2, 0.0), length - crop)


def _moved(box: Box, crop: Box) -> Box:
    """The part of `box` inside `crop`, in fractions of the crop."""
    left, right = ((edge - crop.x) / crop.width for edge in (box.x, box.right))
    top, bottom = ((edge - crop.y) / crop.height for edge in (box.y, box.bottom))
    left, right = (min(max(edge, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge, 0.0), 1.0) for edge in (top, bottom))
    return Box(left, top, right - left, bottom - top)


def _does_not_fit(
    number: int, size: tuple[int, int], crop: Box, wanted: tuple[int, int]
) -> BadInput:
    across, down = round(crop.width * size[0]), round(crop.height * size[1])
    return BadInput(
        f"Face {number} does not fit: the picture is {size[0]} x {size[1]} pixels, and the model's "
        f"is {wanted[0]} x {wanted[1]}, so {across} x {down} pixels around the faces are kept. Use "
        "a picture of the model's shape, with smaller faces or with the faces closer together.",
        param="picture",
    )
