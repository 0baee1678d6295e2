"""The mel filter bank of Whisper: triangles on Slaney's scale, each of unit area.

Slaney's scale (Auditory Toolbox, 1998) is linear up to 1 kHz, 15 mels, and logarithmic above.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def mel_to_hz(mel: float) -> float:
    if mel < _KNEE_MEL:
        return mel * _HZ_PER_MEL
    return _KNEE_HZ * math.exp((mel - _KNEE_MEL) * _LOG_STEP)


@cache
def slaney_filters(sample_rate: int, n_fft: int, bins: int) -> Tensor:
    """Weights (n_fft // 2 + 1, bins) float32 that sum a power spectrum into mel bands."""
    top = hz_to_mel(sample_rate / 2)
    edges = torch.tensor(
        [mel_to_hz(top * i / (bins + 1)) for i in range(bins + 2)], dtype=torch.float64
    )
    hz = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (hz - left) / (centre - left)
    falling = (right - hz) / (right - centre)
    triangles = torch.minimum(rising, falling).clamp_min(0.0)
    return (triangles * (2.0 / (right - left))).float()
