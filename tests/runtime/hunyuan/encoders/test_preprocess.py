"""Sizes that cannot be are refused; the picture becomes a still video."""

import numpy as np
import pytest
import torch
from PIL import Image

from runtime.errors import BadInput
from runtime.hunyuan.encoders.preprocess import (
    Size,
    check_size,
    face_mask_pixels,
    latent_mask,
    pixel_box,
    reference_video,
    release_size,
)
from runtime.values import Box


@pytest.mark.parametrize("size", [Size(704, 712), Size(100, 128), Size(0, 64), Size(48, 64)])
def test_a_size_that_is_no_multiple_of_16_is_refused_with_one_that_is(size):
    with pytest.raises(BadInput, match=r"multiples of 16.*Use for example (\d+) x (\d+)"):
        check_size(size)


def test_a_multiple_of_16_is_a_size():
    assert check_size(Size(80, 112)) == (80, 112)


def test_a_strip_of_a_picture_is_refused():
    with pytest.raises(BadInput, match="64 px"):
        release_size(64 * 100, 64, 256)


def test_the_picture_becomes_a_still_video():
    picture = Image.fromarray(
        np.arange(64 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 80, 3)
    )
    video = reference_video(picture)
    assert video.shape == (1, 3, 129, 64, 80)
    assert torch.equal(video[:, :, 0], video[:, :, 128])
    assert video.min() == -1
    assert video.max() == 1


def test_a_box_of_the_whole_picture_masks_the_whole_picture():
    size = Size(96, 64)
    mask = latent_mask(face_mask_pixels(pixel_box(Box(0, 0, 1, 1), size), size))
    assert mask.shape == (1, 1, 1, 8, 12)
    assert torch.equal(mask, torch.ones_like(mask))
