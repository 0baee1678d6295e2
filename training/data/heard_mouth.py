"""The mouth that the audio encoder hears: what talking clips are drawn with.

Sound decides only part of a mouth: how far one speaker opens it, when the tongue shows. Taught on
the true mouths, a transformer of few steps paints the mean of all pictures that could be meant, a
blur of open and shut. Taught on the mouth that is most to be expected from what the encoder hears,
every picture is sharp and the only right one. (Averaging curves and drawing once, where averaging
drawings would smear.)
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
SHUT_BELOW = 0.03  # a jaw that is heard less open than this is shut
PRESSED_FROM, PRESSED_AT = 0.25, 0.6  # lips meet or they do not: a doubtful press is decided


class MouthHead(nn.Module):
    """Features (..., 10, layers, width) -> mouth (..., 6); used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURE_STEPS * TINY.hidden_states * TINY.width, 128)
        self.out = nn.Linear(128, len(MOUTH_COLUMNS))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.out(functional.gelu(self.hidden(features.flatten(-3))))
        return out


def load_head(path: Path = HEAD_WEIGHTS) -> MouthHead:
    """The head that was trained with the exported encoder."""
    head = MouthHead()
    head.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return head.eval()


@torch.no_grad()
def heard_mouth(head: MouthHead, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mouths (F, 6) of features (F, 10, layers, width), as a renderer draws them."""
    mouth = np.asarray(head(torch.from_numpy(features.astype(np.float32))).numpy())
    lowest = np.array([0, -1, 0, 0, 0, 0], np.float32)
    mouth = np.clip(mouth, lowest, 1)
    pressed = np.clip((mouth[:, PRESS] - PRESSED_FROM) / (PRESSED_AT - PRESSED_FROM), 0, 1)
    mouth[:, PRESS] = pressed
    mouth[:, JAW] *= 1 - pressed
    shut = np.clip(mouth[:, JAW] / SHUT_BELOW - 1, 0, 1)  # fades in from once to twice that
    return np.asarray(mouth * np.where(pressed > 0, 1, shut)[:, None], np.float32)
