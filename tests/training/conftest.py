"""A clip that several tests read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.models.dit.config import TINY
from training.data import clips
from training.data.clips import LATENTS
from training.data.latent_clips import WindowSampler
from training.shipped import load_autoencoder


@pytest.fixture
def sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WindowSampler:
    """A sampler of one clip whose values count its video frames (from 1) or latent frames."""
    monkeypatch.setattr(clips, "FOLDER", tmp_path)
    (tmp_path / "train").mkdir()
    states = (TINY.audio_layers, TINY.audio_dim)
    frames = np.arange(1 + 4 * LATENTS, dtype=np.float32)
    features = frames[1:].reshape(1, 1, LATENTS, 4, 1, 1, 1).astype(np.float16)
    latents = np.arange(1, LATENTS + 1, dtype=np.float16).reshape(-1, 1, 1, 1)
    np.savez(
        tmp_path / "train" / "00000.npz",
        latents=np.broadcast_to(latents, (LATENTS, TINY.in_channels, 32, 32)),
        features=np.broadcast_to(features, (1, 1, LATENTS, 4, TINY.audio_steps, *states)),
        mouth=np.broadcast_to(frames[:, None, None], (len(frames), 1, 6)),
        cues=np.broadcast_to(frames[:, None, None], (len(frames), 1, 8)).astype(np.float16),
        moods=np.array([0]),
        strengths=np.ones(1, np.float32),
        scene=np.array(0),
    )
    prompt = torch.zeros(1, 2, TINY.text_dim), torch.zeros(1, TINY.pooled_text_dim)
    return WindowSampler(load_autoencoder(), TINY, prompt, "train", dropping=False)
