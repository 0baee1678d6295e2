"""The mouth that audio features predict; talking clips are drawn with it.

Sound determines a mouth only in part: speakers differ in how far they open it and how often the
tongue shows. A transformer of few steps that learns from true mouths paints the mean of all
possible frames, a blur of open and closed. So clips are drawn with the expected mouth, given the
audio features. Each frame is then sharp, and it is the only right answer: the mean is taken over
curves before drawing, not over drawings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from runtime.audio.windows import FEATURE_STEPS
from runtime.models.audio_encoder import TINY
from training.voices.mouth_curves import JAW, MOUTH_COLUMNS, PRESS

HEAD_WEIGHTS = Path(__file__).parents[1] / "mouth_head.safetensors"
SHUT_BELOW = 0.03  # a smaller jaw opening counts as closed
PRESSED_FROM, PRESSED_AT = 0.25, 0.6  # a press between these is in doubt: it is stretched to 0..1


class MouthHead(nn.Module):
    """Audio features (..., 10, layers, width) to mouths (..., 6); for training only."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURE_STEPS * TINY.hidden_states * TINY.width, 128)
        self.out = nn.Linear(128, len(MOUTH_COLUMNS))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.out(functional.gelu(self.hidden(features.flatten(-3))))
        return out


def load_head(path: Path = HEAD_WEIGHTS) -> MouthHead:
    """The head that was trained together with the shipped audio encoder."""
    head = MouthHead()
    head.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return head.eval()


@torch.no_grad()
def predict_mouth(head: MouthHead, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mouths (F, 6) for features (F, 10, layers, width), clipped to what can be drawn."""
    mouth = np.asarray(head(torch.from_numpy(features.astype(np.float32))).numpy())
    lowest = np.array([0, -1, 0, 0, 0, 0], np.float32)
    mouth = np.clip(mouth, lowest, 1)
    pressed = np.clip((mouth[:, PRESS] - PRESSED_FROM) / (PRESSED_AT - PRESSED_FROM), 0, 1)
    mouth[:, PRESS] = pressed
    mouth[:, JAW] *= 1 - pressed
    shut = np.clip(
        mouth[:, JAW] / SHUT_BELOW - 1, 0, 1
    )  # opens between one and two times SHUT_BELOW
    return np.asarray(mouth * np.where(pressed > 0, 1, shut)[:, None], np.float32)
