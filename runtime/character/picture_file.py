"""Picture files and uploads of every kind, decoded to one: upright, opaque, 8-bit RGB.

Pictures come from strangers. Their headers are checked before anything is decoded, so that a small
file cannot ask for much memory, and large pictures are shrunk before they are converted.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from runtime.errors import AvatarError, BadInput

SMALLEST_SIDE = 64  # px
LARGEST_PIXELS = 25_000_000  # of a decoded image: 100 MB, as Pillow holds RGB in 4 bytes
LARGEST_PIXELS_DEEP = 12_000_000  # of kinds that need further copies: transparent, 16-bit, WebP
LARGEST_FILE = 30_000_000  # bytes
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
DEEP_MODES = ("I", "F", "RGBA", "LA", "PA", "RGBa", "La", "LAB", "CMYK")  # and I;16 of any order
WHITE = (255, 255, 255)  # behind transparent pixels
LEAST_ALPHA = 13  # of 255: below this everywhere, nothing of a picture can be seen
FULL_SCALES = (1, 255, 4095, 65_535)  # the brightest value of float, 8, 12 and 16 bits a pixel
KEPT_DETAIL = 2  # a picture is shrunk to no less than this many times the size it is wanted in
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OTHER_KINDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
    b"avif": "AVIF",
    b"avis": "AVIF",
}
"""Brands of `ftyp` boxes: what phones and browsers save, and Pillow's formats here do not have."""

PictureSource = Path | bytes | BinaryIO


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright opaque RGB image; `size` is that of its file, before it was shrunk."""

    image: Image.Image
    size: tuple[int, int]


def read_picture(source: PictureSource, *, param: str = "picture") -> Image.Image:
    """An upright opaque RGB image from a file or its bytes; of an animation the first image.

    Transparent parts become white; 16-bit and float values become 8-bit. BadInput if it is no
    image, is truncated, transparent all over, too small, or too large when decoded.
    """
    return read_photo(source, param=param).image


def read_photo(
    source: PictureSource, *, enough: tuple[int, int] | None = None, param: str = "picture"
) -> Photo:
    """As `read_picture`; shrunk while it is decoded, if it is much larger than `enough` needs.

    `enough` is the size (width, height) that a crop of the image will be scaled to.
    """
    name = source.name if isinstance(source, Path) else "The upload"
    _check_length(name, source, param)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning; ours comes first
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file, formats=FORMATS) as opened:
                _check_size(name, opened, param)
                return _decoded(name, opened, enough, param)
    except AvatarError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more pixels than any picture", LARGEST_PIXELS, param) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them meet
        raise BadInput(
            f"{name} cannot be read as a picture ({_reason(error, source)}). "
            f"Send a complete file in one of these formats: {', '.join(FORMATS)}.",
            param=param,
        ) from error


def _decoded(name: str, opened: Image.Image, enough: tuple[int, int] | None, param: str) -> Photo:
    size = opened.size
    if enough is not None:
        least = KEPT_DETAIL * max(enough)
        opened.draft("RGB", (least, least))  # JPEG only: decodes at a half, quarter or eighth
    opened.load()
    turn = TURNS.get(_orientation(opened))
    shrunk = _shrunk(name, opened, enough, param)
    opaque = _opaque(name, shrunk, param)
    if turn is not None:
        opaque = opaque.transpose(turn)
        if turn not in (TURNS[2], TURNS[3], TURNS[4]):
            size = size[::-1]
    return Photo(opaque, size)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the picture, which is whole
        return 1


def _shrunk(
    name: str, opened: Image.Image, enough: tuple[int, int] | None, param: str
) -> Image.Image:
    """In a mode whose pixels may be averaged, by a whole factor smaller if it is too large."""
    if opened.mode.startswith("I") or opened.mode == "F":
        opened = _eight_bits(name, opened, param)
    elif opened.mode == "1":
        opened = opened.convert("L")
    elif opened.mode in ("P", "PA") or "transparency" in opened.info:
        opened = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    factor = min(opened.size) // (KEPT_DETAIL * max(enough)) if enough else 1
    return opened.reduce(factor) if factor > 1 else opened


def _eight_bits(name: str, picture: Image.Image, param: str) -> Image.Image:
    """A grey picture of 16 or 32 bits as one of 8 bits, by the smallest full scale it fits."""
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    scales = FULL_SCALES if picture.mode == "F" else FULL_SCALES[1:]
    full = next((scale for scale in scales if high <= scale), None)
    if full is None or not low >= 0:  # NaN is neither
        raise BadInput(
            f"{name} is a grey picture with values from {low:g} to {high:g}; at most 0 to 65535 is "
            "understood. Save it as an 8-bit PNG or JPEG.",
            param=param,
        )
    scaled = values.astype(np.float32) * np.float32(255 / full)
    return Image.fromarray((scaled + 0.5).astype(np.uint8))


def _opaque(name: str, picture: Image.Image, param: str) -> Image.Image:
    if picture.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        assert converted is not None  # a new image, as not in place
        return converted
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layered = picture.convert("RGBA")
    alpha = layered.getchannel("A")
    if np.asarray(alpha).max() < LEAST_ALPHA:
        raise BadInput(
            f"{name} is transparent all over, so nothing of it can be seen. Save it without "
            "transparency, or with the character opaque.",
            param=param,
        )
    ground = Image.new("RGB", layered.size, WHITE)
    ground.paste(layered, mask=alpha)
    return ground


def _check_length(name: str, source: PictureSource, param: str) -> None:
    if isinstance(source, bytes):
        length = len(source)
    elif isinstance(source, Path):
        if not source.is_file():
            raise BadInput(f"There is no picture file {source}. Check the path.", param=param)
        length = source.stat().st_size
    else:
        source.seek(0, io.SEEK_END)
        length = source.tell()
        source.seek(0)
    if length > LARGEST_FILE:
        raise BadInput(
            f"{name} has {length} bytes; at most {LARGEST_FILE} are allowed. Send a smaller "
            "picture.",
            param=param,
        )


def _check_size(name: str, opened: Image.Image, param: str) -> None:
    across, down = opened.size
    is_deep = opened.mode.startswith("I;") or opened.mode in DEEP_MODES or opened.format == "WEBP"
    if is_deep or opened.has_transparency_data:
        most, kind = LARGEST_PIXELS_DEEP, f" of the kind {opened.format} {opened.mode}"
    else:
        most, kind = LARGEST_PIXELS, ""
    if across * down > most:
        raise _too_large(name, f"{across} x {down} pixels{kind}", most, param)
    if min(opened.size) < SMALLEST_SIDE:
        raise BadInput(
            f"{name} has {across} x {down} pixels; each side needs {SMALLEST_SIDE} or more. Send a "
            "larger picture.",
            param=param,
        )


def _too_large(name: str, found: str, most: int, param: str) -> BadInput:
    return BadInput(
        f"{name} is too large when decoded ({found}); at most {most} pixels are allowed, and "
        f"{LARGEST_PIXELS_DEEP} of WebP, CMYK, with transparency or more than 8 bits. Scale it "
        "down.",
        param=param,
    )


def _reason(error: Exception, source: PictureSource) -> str:
    if not isinstance(error, UnidentifiedImageError):
        return str(error)[:100] or type(error).__name__
    head = _head(source)
    if head[4:8] == b"ftyp" and head[8:12] in OTHER_KINDS:
        return f"it is {OTHER_KINDS[head[8:12]]}"
    return "its first bytes are of no known format" if head else "it is empty"


def _head(source: PictureSource) -> bytes:
    if isinstance(source, bytes):
        return source[:12]
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(12)
    source.seek(0)
    return source.read(12)
