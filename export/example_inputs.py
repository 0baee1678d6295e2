"""Random inputs of the right shapes for each exported module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.audio.windows import CONTEXT_STEPS
from runtime.engine.parts import WindowShape
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.dit.config import DiTConfig
from runtime.timing import FRAMES_PER_LATENT
from runtime.weights.checkpoint import AvatarModel

Values = dict[str, Tensor]
"""Inputs of one call, by name."""


def random_values(
    names: tuple[str, ...], config: DiTConfig, shape: WindowShape, seed: int = 0
) -> Values:
    """Normal numbers for those inputs; rotations are true rotations, masks lie in 0 .. 1."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name in names:
        value = torch.randn(value_shape(name, config, shape), generator=generator)
        if name == "rotation":
            value = value / value.norm(dim=-1, keepdim=True)
        elif name in ("masks", "emotion_masks"):
            value = value.sigmoid()
        elif name.endswith("_mod"):
            value = 0.3 * value  # gates and scales stay near those of a trained model
        values[name] = value
    return values


def value_shape(name: str, config: DiTConfig, shape: WindowShape) -> tuple[int, ...]:
    """The static shape of a part's input, by its name in `DenoiserPart.inputs`."""
    _, ph, pw = config.patch_size
    batch, frames, speakers = shape.batch, shape.latent_frames, shape.speakers
    picture, size = (shape.rows // ph) * (shape.columns // pw), config.hidden_size
    tokens, rows, columns = picture, shape.rows, shape.columns
    if shape.kept_tokens is not None:  # only the active ones, see stream/active_tokens.py
        tokens, rows, columns = shape.kept_tokens, ph, shape.kept_tokens * pw
    image, video = (frames + 1) * tokens, frames * tokens
    cues = FRAMES_PER_LATENT if config.motion_cues else 0
    keys = speakers * (FRAMES_PER_LATENT * config.audio_tokens + cues)
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (batch, config.in_channels, frames, rows, columns),
        "reference": (batch, tokens, size),
        "injected": (batch, video, size),
        "img": (batch, image, size),
        "txt": (batch, shape.text_tokens, size),
        "hidden": (batch, image + shape.text_tokens, size),
        "rotation": (image, 1, 1, config.head_dim // 2, 2),
        "masks": (batch, frames, tokens, speakers, 1),
        "emotion_masks": (batch, 1, video, speakers, 1),
        "audio": (batch, frames, keys, 2 * config.adapter_dim),
        "emotion": (batch, 2, config.heads, speakers * picture, config.head_dim),
        "double": (batch, 6 * size),
        "single": (batch, 3 * size),
        "final_mod": (batch, 2 * size),
    }
    return shapes[name] if name in shapes else shapes[name.split("_")[0]]


def decoder_values(model: AvatarModel, rows: int, columns: int, seed: int = 0) -> Values:
    """The anchor of a smooth random picture, and two latent frames near that picture's."""
    generator = torch.Generator().manual_seed(seed)
    stride = model.picture_multiple_px // model.dit.config.patch_size[1]
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
    size = (rows * stride, columns * stride)
    picture = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        state = model.autoencoder.start(picture)
        still = model.autoencoder.still(picture)
        latents = [still + 0.3 * torch.randn(still.shape, generator=generator) for _ in range(2)]
    values = {"latent": latents[0], "previous": latents[1], **state.reference._asdict()}
    return {name: value.clone() for name, value in values.items()}


def mel_values(config: AudioEncoderConfig, seed: int = 0) -> Values:
    """A random log-mel spectrogram of one window of audio."""
    generator = torch.Generator().manual_seed(seed)
    return {"mel": torch.randn(1, config.mel_bins, 2 * CONTEXT_STEPS, generator=generator)}
