"""Pictures as bytes, on the device that made them: RGB, or the planes that video encoders take.

I420 is the plane of luma followed by those of U and V at half the resolution; NV12 interleaves U
and V. Luma and chroma are BT.601, limited range (ITU-R BT.601-7, section 3.5): what libswscale
makes of RGB by default, and so what the RGB path sends. Three bytes a pixel become one and a half.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import BadInput

Layout = Literal["rgb", "i420", "nv12"]

LUMA = (65.481, 128.553, 24.966)  # of R, G, B in [0, 1]; BT.601 with 219 steps of luma
BLUE = (-37.797, -74.203, 112.0)  # 224 steps of chroma
RED = (112.0, -93.786, -18.214)
LUMA_BLACK, CHROMA_ZERO = 16.0, 128.0


def to_bytes(pictures: Tensor, layout: Layout = "rgb") -> Tensor:
    """Pictures (F, 3, H, W) in [0, 1] as uint8: (F, H, W, 3), or planes (F, 3 H / 2, W).

    The planes are those of `av.VideoFrame.from_ndarray` with format yuv420p or nv12. BadInput where
    a side is odd, for a chroma sample stands for two by two pixels.
    """
    if layout == "rgb":
        return _rounded(pictures * 255.0).permute(0, 2, 3, 1).contiguous()
    frames, _, height, width = pictures.shape
    if height % 2 or width % 2:
        raise BadInput(
            f"A picture of {width} x {height} has no {layout} planes: both sides must be even. "
            "Use rgb, or an even size.",
            param="layout",
        )
    luma, *chroma = _weighted(pictures)
    parts = chroma if layout == "i420" else [torch.stack(chroma, dim=-1)]
    planes = torch.cat([luma.flatten(1), *(part.flatten(1) for part in parts)], dim=1)
    return _rounded(planes).view(frames, 3 * height // 2, width)


def _weighted(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma (F, H, W), U and V (F, H/2, W/2), 0 to 255."""
    whole = pictures.float()
    halves = F.avg_pool2d(whole, 2)
    return (
        _mixed(whole, LUMA) + LUMA_BLACK,
        _mixed(halves, BLUE) + CHROMA_ZERO,
        _mixed(halves, RED) + CHROMA_ZERO,
    )


def _mixed(pictures: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Pictures (F, 3, H, W) to (F, H, W). The weights are no tensor: that would be a copy from the
    host, and a GPU would be waited for.
    """
    red, green, blue = pictures.unbind(1)
    return weights[0] * red + weights[1] * green + weights[2] * blue


def _rounded(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
