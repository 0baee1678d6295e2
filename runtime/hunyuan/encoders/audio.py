"""Audio features exactly as HunyuanVideo-Avatar's release makes them, for its own weights.

Offline and capped at 16 s, quirks included; a live stream uses `runtime/audio/features.py`. The
rules were observed in the output of the official `get_audio_feature` and its data loader.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from runtime.audio.mel_filters import slaney_filters
from runtime.audio.windows import (
    FEATURE_STEPS,
    HOP_SAMPLES,
    N_FFT,
    STEPS_BEFORE,
    STEPS_PER_FRAME,
)
from runtime.errors import BadInput
from runtime.models.audio_encoder import AudioEncoder
from runtime.timing import SAMPLE_RATE, SAMPLES_PER_FRAME

CLIP_SAMPLES = 30 * SAMPLE_RATE  # Whisper's clip; the release encodes only the first one
MAX_FRAMES = 400  # 16 s
_SHORT_FRAMES = 129  # up to here features are padded to this, above it by _TAIL_FRAMES
_TAIL_FRAMES = 5


def whisper_log_mel(pcm: NDArray[np.float32]) -> Tensor:
    """Whisper's log-mel (1, 80, 3000) float32 of the first 30 s of `pcm` (N,), zero-padded.

    The floor is 8 decades of power below the clip's own maximum, so the whole clip must be known.
    """
    clip = np.zeros(CLIP_SAMPLES, np.float64)
    start = pcm[:CLIP_SAMPLES]
    clip[: len(start)] = start
    reach = N_FFT // 2
    padded = functional.pad(torch.from_numpy(clip)[None, None], (reach, reach), mode="reflect")
    frames = padded[0].unfold(-1, N_FFT, HOP_SAMPLES)
    spectrum = torch.fft.rfft(frames * torch.hann_window(N_FFT, dtype=torch.float64))
    power = (spectrum.real.square() + spectrum.imag.square())[:, :-1]
    mel = power @ slaney_filters(SAMPLE_RATE, N_FFT, 80).double()
    log = mel.clamp_min(1e-10).log10()
    log = torch.maximum(log, log.max() - 8.0)
    return ((log + 4.0) / 4.0).transpose(1, 2).float()


def release_frames(samples: int) -> int:
    """Video frames that the release makes features for: 25 a second, at most 400."""
    return min(samples // SAMPLES_PER_FRAME, MAX_FRAMES)


@torch.no_grad()
def release_audio_features(
    encoder: AudioEncoder, pcm: NDArray[np.float32], fps: float = 25.0
) -> Tensor:
    """Features (1, F, 10, layers + 1, width) float32 of `pcm` (N,) 16 kHz in [-1, 1].

    Frame k has encoder steps 2k-4 .. 2k+5 (4k-4 .. 4k+5 at 12.5 fps), zeros before the first.
    F counts frames of 25 fps in both cases, as in the release.
    """
    if fps not in (12.5, 25.0):
        raise BadInput(f"The release has 25 and 12.5 fps, not {fps:g}. Use 25.", param="fps")
    mel = whisper_log_mel(pcm).half().float()  # the release rounds the mel once
    states = encoder(mel.to(encoder.conv1.weight.device))
    states = functional.pad(states, (0, 0, 0, 0, STEPS_BEFORE, FEATURE_STEPS))
    stride = STEPS_PER_FRAME if fps == 25.0 else 2 * STEPS_PER_FRAME
    steps = torch.arange(release_frames(len(pcm)))[:, None] * stride + torch.arange(FEATURE_STEPS)
    features: Tensor = states[:, steps.to(states.device)]
    return features


def pad_release_features(features: Tensor) -> Tensor:
    """The input of the release's sampler: half precision, missing frames as exact zeros.

    Up to 129 frames become 129; longer audio gets five zero frames at its end.
    """
    frames = features.shape[1]
    wanted = _SHORT_FRAMES if frames <= _SHORT_FRAMES else frames + _TAIL_FRAMES
    return functional.pad(features, (0, 0, 0, 0, 0, 0, 0, wanted - frames)).half()
