"""The reference image as the released weights need it: size, pixels and face mask.

The rules were observed in the release's preprocessing. It scales the whole picture to sides that
are multiples of 64 and crops nothing, so boxes in fractions of the picture stay valid.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from runtime.character.face_mask import ENLARGED
from runtime.errors import BadInput
from runtime.values import Box

IMAGE_SIZE = 704  # px; the release's default for the shorter side
LONG_SIDES = {704: 1216, 512: 768, 384: 576, 256: 384}  # px; image size -> largest longer side
LONG_TO_SHORT = 1.5  # the same as a ratio, for every other image size
SIZE_MULTIPLE = 64  # px; of the release's sizes
SMALLEST_MULTIPLE = 16  # px; that of the autoencoder (8) times that of the tokens (2)
LATENT_STRIDE = 8  # px a latent, along each side
REFERENCE_FRAMES = 129  # the picture as a video: 33 latent frames

LLAVA_SIDE = 336  # px
LLAVA_MEAN = (0.48145466, 0.4578275, 0.4082107)  # CLIP's
LLAVA_STD = (0.26862954, 0.26130258, 0.27577711)

PixelBox = tuple[float, float, float, float]  # x, y, width, height in pixels
_PIXEL_DIGITS = 6  # so that a box made from whole pixels gives exactly those back


class Size(NamedTuple):
    """A picture's size in pixels."""

    width: int
    height: int

    @property
    def latent_rows(self) -> int:
        return self.height // LATENT_STRIDE

    @property
    def latent_columns(self) -> int:
        return self.width // LATENT_STRIDE


def release_size(width: int, height: int, image_size: int = IMAGE_SIZE) -> Size:
    """The size that the release gives a picture of width x height.

    The shorter side becomes `image_size`; if that makes too many pixels, both sides shrink.
    """
    most = image_size * LONG_SIDES.get(image_size, LONG_TO_SHORT * image_size)
    size = _rounded(width, height, image_size / min(width, height))
    if size.width * size.height > most:
        size = _rounded(width, height, math.sqrt(most / (width * height)))
    if min(size) < SIZE_MULTIPLE:
        raise BadInput(
            f"A picture of {width} x {height} becomes {size.width} x {size.height} at image size "
            f"{image_size}; both sides need {SIZE_MULTIPLE} px. Crop it, or use a larger size.",
            param="image_size",
        )
    return size


def check_size(size: Size) -> Size:
    """The size itself. BadInput unless both sides are multiples of 16 px, from 64 on."""
    if min(size) < SIZE_MULTIPLE or any(side % SMALLEST_MULTIPLE for side in size):
        raise BadInput(
            f"The size is {size.width} x {size.height} px; both sides must be multiples of "
            f"{SMALLEST_MULTIPLE} from {SIZE_MULTIPLE} on. Use for example "
            f"{_next_multiple(size.width)} x {_next_multiple(size.height)}.",
            param="size",
        )
    return size


def resized(picture: Image.Image, size: Size) -> Image.Image:
    """The whole RGB picture at that size (Lanczos); its aspect ratio may change."""
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def reference_video(picture: Image.Image) -> Tensor:
    """The picture as a still video (1, 3, 129, H, W) float32 in [-1, 1]; frames share memory."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    still = pixels[None, :, None].float() / 127.5 - 1
    return still.expand(-1, -1, REFERENCE_FRAMES, -1, -1)


def llava_pixels(picture: Image.Image) -> Tensor:
    """LLaVA's input: the resized picture (1, 3, 336, 336) float32, normalised as for CLIP."""
    small = picture.convert("RGB").resize((LLAVA_SIDE, LLAVA_SIDE), Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(channel)[:, None, None] for channel in (LLAVA_MEAN, LLAVA_STD))
    return ((values - mean) / std)[None]


def pixel_box(box: Box, size: Size) -> PixelBox:
    """A box in fractions of the picture -> pixels at that size."""
    scaled = (
        box.x * size.width,
        box.y * size.height,
        box.width * size.width,
        box.height * size.height,
    )
    x, y, width, height = (round(side, _PIXEL_DIGITS) for side in scaled)
    return x, y, width, height


def face_mask_pixels(box: PixelBox | None, size: Size) -> NDArray[np.uint8]:
    """(H, W): 1 in the box enlarged three times about its centre, 0 outside.

    Centre and half sizes are floored, edges are clipped and truncated. None masks the whole
    picture: the release does so if there is no face, this code only if the caller asks for it.
    """
    mask = np.zeros((size.height, size.width), np.uint8)
    if box is None:
        mask[:] = 1
        return mask
    x, y, width, height = box
    left, right = _enlarged(x, width, size.width)
    top, bottom = _enlarged(y, height, size.height)
    mask[top:bottom, left:right] = 1
    return mask


def latent_mask(mask: NDArray[np.uint8]) -> Tensor:
    """A mask (H, W) sampled bilinearly on the latent grid: (1, 1, 1, H / 8, W / 8) float32."""
    rows, columns = (side // LATENT_STRIDE for side in mask.shape)
    values = torch.from_numpy(mask).float()[None, None]
    return functional.interpolate(values, size=(rows, columns), mode="bilinear")[:, :, None]


def _rounded(width: int, height: int, scale: float) -> Size:
    across, down = (round(side * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in (width, height))
    return Size(across, down)


def _next_multiple(side: int) -> int:
    return max(SIZE_MULTIPLE, -(-side // SMALLEST_MULTIPLE) * SMALLEST_MULTIPLE)


def _enlarged(start: float, length: float, limit: int) -> tuple[int, int]:
    centre = (start + (start + length)) // 2
    half = length * ENLARGED // 2
    return int(max(0.0, centre - half)), int(min(float(limit), centre + half))
