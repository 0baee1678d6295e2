"""Where the built-in model lives: the folder that training writes and the runtime reads."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file

import runtime
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.models.autoencoder import Autoencoder, AutoencoderConfig

BUILTIN = Path(runtime.__file__).parent / "builtin"
WEIGHTS = BUILTIN / "weights"
CHARACTERS = BUILTIN / "characters"


def load_autoencoder(folder: Path = WEIGHTS) -> Autoencoder:
    """The exported autoencoder in float32, ready for use."""
    config = AutoencoderConfig.from_dict(json.loads((folder / "autoencoder.json").read_text()))
    model = Autoencoder(config)
    tensors = load_file(folder / "autoencoder.safetensors")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})
    return model.eval()


def load_audio_encoder(folder: Path = WEIGHTS) -> AudioEncoder:
    """The exported audio encoder in float32, ready for use."""
    config = AudioEncoderConfig(**json.loads((folder / "audio_encoder.json").read_text()))
    model = AudioEncoder(config)
    tensors = load_file(folder / "audio_encoder.safetensors")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})
    return model.eval()
