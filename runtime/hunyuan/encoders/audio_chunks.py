"""Released audio features for audio of any length, and at 12.5 frames a second.

The release stops at 16 s. Up to there these are its features, bit for bit. Longer audio is cut into
clips by our own rule: a clip of 16 s begins every 12 s, and all but the first drop their first 4 s,
because the clip before has more context there. As in the release, a clip's log-mel takes its floor
from the 30 s that begin with it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import BadInput
from runtime.hunyuan.encoders.audio import CLIP_SAMPLES, MAX_FRAMES, release_audio_features
from runtime.models.audio_encoder import AudioEncoder
from runtime.timing import SAMPLES_PER_FRAME, VIDEO_FPS

HALF_FPS = VIDEO_FPS / 2
CLIP_STRIDE = 300  # video frames of 25 fps from one clip to the next: 12 s


def clip_audio_features(
    encoder: AudioEncoder, pcm: NDArray[np.float32], fps: float = VIDEO_FPS
) -> Tensor:
    """Features (1, n, 10, layers + 1, width) float32 of `pcm` (N,), 16 kHz in [-1, 1].

    n = N // 640 frames at 25 fps; at 12.5 fps every second one of them, which has exactly the
    encoder steps of the release's frame at 12.5 fps. Raises BadInput for another fps and for audio
    shorter than one frame.
    """
    if fps not in (HALF_FPS, VIDEO_FPS):
        raise BadInput(f"fps is {fps:g}. Use {VIDEO_FPS} or {HALF_FPS:g}.", param="fps")
    every = round(VIDEO_FPS / fps)
    frames = len(pcm) // (SAMPLES_PER_FRAME * every)
    if frames == 0:
        raise BadInput(
            f"The audio has {len(pcm)} samples at 16 kHz; one video frame needs "
            f"{SAMPLES_PER_FRAME * every}. Give a longer sound file.",
            param="audio",
        )
    features = torch.cat([_new_frames(encoder, pcm, start) for start in _clip_starts(pcm)], dim=1)
    return features[:, ::every][:, :frames]


def _clip_starts(pcm: NDArray[np.float32]) -> range:
    """Frames of 25 fps at which clips begin; the last clip reaches the end of the audio."""
    overlap = MAX_FRAMES - CLIP_STRIDE
    return range(0, max(1, len(pcm) // SAMPLES_PER_FRAME - overlap), CLIP_STRIDE)


def _new_frames(encoder: AudioEncoder, pcm: NDArray[np.float32], start: int) -> Tensor:
    """Features of the frames that the clip at frame `start` contributes."""
    first = start * SAMPLES_PER_FRAME
    features = release_audio_features(encoder, pcm[first : first + CLIP_SAMPLES])
    return features if start == 0 else features[:, MAX_FRAMES - CLIP_STRIDE :]
