"""Bytes of frames against PyAV's conversion of the same RGB."""

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.errors import BadInput
from runtime.models.autoencoder.pixel_planes import to_bytes


def colours() -> Tensor:
    """Eight frames of one random colour each: the position of chroma samples does not matter."""
    values = torch.rand(8, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    return ((values * 255).round() / 255).expand(-1, -1, 8, 16)


def test_rgb_is_rounded() -> None:
    pictures = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    assert to_bytes(pictures).flatten().tolist() == [0, 128, 255]


def test_planes_equal_those_of_swscale() -> None:
    for rgb, planes in zip(to_bytes(colours()), to_bytes(colours(), "i420"), strict=True):
        frame = av.VideoFrame.from_ndarray(rgb.numpy(), format="rgb24")
        expected = frame.reformat(format="yuv420p").to_ndarray()
        assert planes.shape == expected.shape
        assert np.abs(planes.numpy().astype(int) - expected).max() <= 1  # it works in integers


def test_chroma_is_the_mean_of_four_pixels() -> None:
    picture = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    mean = torch.nn.functional.avg_pool2d(picture, 2).repeat_interleave(2, 2)
    mean = mean.repeat_interleave(2, 3)
    assert torch.equal(to_bytes(picture, "i420")[:, 4:], to_bytes(mean, "i420")[:, 4:])


def test_odd_sizes_have_no_planes() -> None:
    with pytest.raises(BadInput, match="even"):
        to_bytes(torch.zeros(1, 3, 5, 4), "i420")
