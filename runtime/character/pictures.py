"""Images from files and uploads: checked, upright, opaque, cropped and scaled to a size."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from runtime.errors import BadInput
from runtime.values import Box, Pixels

SMALLEST_SIDE = 64  # px
LARGEST_PIXELS = 50_000_000  # of a decoded image: 150 MB as RGB
LARGEST_FILE = 30_000_000  # bytes
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
WHITE = (255, 255, 255)  # also behind transparent pixels
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


def read_picture(source: Path | bytes, *, param: str = "picture") -> Image.Image:
    """An upright opaque RGB image from a file or its bytes; of an animation the first image.

    BadInput if it is no image, is truncated, too small, or too large when decoded.
    """
    name = source.name if isinstance(source, Path) else "The upload"
    size = _size_on_disk(source, param)
    if size > LARGEST_FILE:
        raise BadInput(
            f"{name} has {size} bytes; at most {LARGEST_FILE} are allowed. Send a smaller picture.",
            param=param,
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning; ours comes first
            opened = Image.open(
                source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS
            )
            _check_size(name, opened.size, param)
            upright = ImageOps.exif_transpose(opened)
            return _opaque(upright)
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error), param) from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BadInput(
            f"{name} cannot be read as a picture ({error}). "
            f"Send a complete file in one of these formats: {', '.join(FORMATS)}.",
            param=param,
        ) from error


def fit_picture(
    picture: Image.Image, boxes: Sequence[Box], width: int, height: int
) -> tuple[Image.Image, tuple[Box, ...]]:
    """Crops to the aspect ratio of width x height around the faces and scales; boxes follow.

    BadInput if a face does not fit into the crop.
    """
    across, down = picture.size
    scale = max(width / across, height / down)
    crop_across, crop_down = width / scale, height / scale
    left = _crop_start(across, crop_across, [(b.x * across, b.right * across) for b in boxes])
    top = _crop_start(down, crop_down, [(b.y * down, b.bottom * down) for b in boxes])
    fitted = picture.resize(
        (width, height),
        Image.Resampling.LANCZOS,
        box=(left, top, left + crop_across, top + crop_down),
    )
    moved = tuple(
        _moved(number, box, (across, down), (left, top), (crop_across, crop_down))
        for number, box in enumerate(boxes, start=1)
    )
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


def _size_on_disk(source: Path | bytes, param: str) -> int:
    if isinstance(source, bytes):
        return len(source)
    if not source.is_file():
        raise BadInput(f"There is no picture file {source}. Check the path.", param=param)
    return source.stat().st_size


def _too_large(name: str, found: str, param: str) -> BadInput:
    return BadInput(
        f"{name} is too large when decoded ({found}); at most {LARGEST_PIXELS} pixels are allowed. "
        "Scale it down.",
        param=param,
    )


def _check_size(name: str, size: tuple[int, int], param: str) -> None:
    across, down = size
    if across * down > LARGEST_PIXELS:
        raise _too_large(name, f"{across} x {down} pixels", param)
    if min(size) < SMALLEST_SIDE:
        raise BadInput(
            f"{name} has {across} x {down} pixels; each side needs {SMALLEST_SIDE} or more. Send a "
            "larger picture.",
            param=param,
        )


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, (*WHITE, 255))
    return Image.alpha_composite(ground, layered).convert("RGB")


def _crop_start(length: float, crop: float, faces: list[tuple[float, float]]) -> float:
    """The start of a crop that is centred on the faces, as far as the image allows."""
    low = min((start for start, _ in faces), default=0.0)
    high = max((stop for _, stop in faces), default=length)
    return min(max((low + high - crop) / 2, 0.0), length - crop)


def _moved(
    number: int,
    box: Box,
    size: tuple[int, int],
    start: tuple[float, float],
    crop: tuple[float, float],
) -> Box:
    left, right = ((edge * size[0] - start[0]) / crop[0] for edge in (box.x, box.right))
    top, bottom = ((edge * size[1] - start[1]) / crop[1] for edge in (box.y, box.bottom))
    whole = (right - left) * (bottom - top)
    left, right = (min(max(edge, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge, 0.0), 1.0) for edge in (top, bottom))
    if (right - left) * (bottom - top) < LEAST_KEPT * whole:
        raise BadInput(
            f"Face {number} does not fit into the model's picture when all faces are in a row "
            "this wide. Use a picture with the faces closer together.",
            param="picture",
        )
    return Box(left, top, right - left, bottom - top)
