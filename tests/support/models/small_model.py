"""A small model with random weights in which everything has an effect."""

import torch

from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.stream.model import Prompt
from runtime.weights.checkpoint import AvatarModel

SMALL_DIT = DiTConfig(
    hidden_size=32,
    heads=2,
    double_blocks=2,
    single_blocks=2,
    rope_dims=(4, 6, 6),
    text_dim=8,
    pooled_text_dim=8,
    refiner_blocks=1,
    audio_dim=16,
    audio_hidden=32,
    adapter_dim=32,
    emotion=True,
    motion_cues=8,
    frame_maps=True,
    prediction="residual",
)
SMALL_AUTOENCODER = AutoencoderConfig(latent_channels=16, widths=(8, 8), decoder_widths=(8, 8))
SMALL_AUDIO_ENCODER = AudioEncoderConfig(width=16, heads=2, layers=4, max_steps=100)


def random_model(seed: int, dit: DiTConfig = SMALL_DIT) -> AvatarModel:
    """Untrained weights; does not change torch's default generator."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = AvatarModel(
            DiT(dit),
            Autoencoder(SMALL_AUTOENCODER),
            AudioEncoder(SMALL_AUDIO_ENCODER),
            Prompt(torch.randn(2, dit.text_dim), torch.randn(dit.pooled_text_dim)),
        )
        for parameter in model.dit.parameters():
            if not parameter.any():  # gates and outputs begin at zero
                parameter.normal_(std=0.05)
    return model
