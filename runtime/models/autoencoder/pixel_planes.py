"""Frames as bytes, on the device that decoded them: RGB, or I420 planes for video encoders.

I420 is the plane of luma, followed by U and V at half the resolution: one and a half bytes a pixel
instead of three. Luma and chroma are BT.601, limited range (ITU-R BT.601-7, section 3.5).
libswscale converts RGB in the same way by default, so both layouts lead to the same video.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import BadInput

Layout = Literal["rgb", "i420"]

LUMA = (65.481, 128.553, 24.966)  # of R, G, B in [0, 1]; BT.601 with 219 steps of luma
BLUE = (-37.797, -74.203, 112.0)  # 224 steps of chroma
RED = (112.0, -93.786, -18.214)
LUMA_BLACK, CHROMA_ZERO = 16.0, 128.0


def to_bytes(frames: Tensor, layout: Layout = "rgb") -> Tensor:
    """Frames (F, 3, H, W) in [0, 1] as uint8: rgb (F, H, W, 3), or i420 (F, 3 H / 2, W).

    The planes are those of `av.VideoFrame.from_ndarray` with format yuv420p. Raises BadInput if a
    side is odd: a chroma sample covers two by two pixels.
    """
    if layout == "rgb":
        return _rounded(frames * 255.0).permute(0, 2, 3, 1).contiguous()
    count, _, height, width = frames.shape
    if height % 2 or width % 2:
        raise BadInput(
            f"A frame of {width} x {height} has no {layout} planes: both sides must be even. "
            "Use rgb, or an even size.",
            param="layout",
        )
    planes = torch.cat([plane.flatten(1) for plane in _yuv(frames)], dim=1)
    return _rounded(planes).view(count, 3 * height // 2, width)


def _yuv(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma (F, H, W), U and V (F, H/2, W/2), 0 to 255."""
    whole = frames.float()
    halves = F.avg_pool2d(whole, 2)
    return (
        _mixed(whole, LUMA) + LUMA_BLACK,
        _mixed(halves, BLUE) + CHROMA_ZERO,
        _mixed(halves, RED) + CHROMA_ZERO,
    )


def _mixed(frames: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """The weighted sum over colours, (F, 3, H, W) to (F, H, W).

    The weights are no tensor: copying them from the host would make the host wait for the GPU.
    """
    red, green, blue = frames.unbind(1)
    return weights[0] * red + weights[1] * green + weights[2] * blue


def _rounded(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
