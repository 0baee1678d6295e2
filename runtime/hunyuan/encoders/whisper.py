"""The released audio encoder: the encoder of a Whisper model in transformers' format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import CheckpointError
from runtime.hunyuan.tensor_file import map_pickle, map_safetensors, read_json
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.weights.fit import misfits, not_finite, shown

PREFIXES = ("model.encoder.", "encoder.")  # with and without a language head around it
CONFIG_NAMES = {
    "width": "d_model",
    "heads": "encoder_attention_heads",
    "layers": "encoder_layers",
    "max_steps": "max_source_positions",
    "mel_bins": "num_mel_bins",
    "feed_forward": "encoder_ffn_dim",
}


def load_whisper(folder: Path, device: str | torch.device = "cpu") -> AudioEncoder:
    """The encoder in float32, as in the release; the decoder is not read.

    Raises CheckpointError that names the file, and the weights that do not fit.
    """
    file = folder / "config.json"
    sizes: dict[str, Any] = read_json(file)
    lost = [name for name in CONFIG_NAMES.values() if not isinstance(sizes.get(name), int)]
    if lost:
        raise CheckpointError(
            f"{file} gives no number for {', '.join(lost)}, so this is no Whisper folder. Run "
            "`avatar weights fetch`."
        )
    with torch.device("meta"):
        encoder = AudioEncoder(
            AudioEncoderConfig(**{ours: sizes[name] for ours, name in CONFIG_NAMES.items()})
        )
    tensors = _encoder_tensors(folder)
    expected = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    if problems := misfits({name: tensor.shape for name, tensor in tensors.items()}, expected):
        raise CheckpointError(
            f"The weights in {folder} do not fit its config.json: {'; '.join(problems)}. "
            "Run `avatar weights fetch`."
        )
    if broken := not_finite(tensors):
        raise CheckpointError(
            f"The weights in {folder} have NaN or infinite values in {len(broken)} tensors: "
            f"{shown(broken)}. Run `avatar weights fetch`."
        )
    own = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in tensors.items()}
    encoder.load_state_dict(own, assign=True)
    return encoder.eval().requires_grad_(False)


def _encoder_tensors(folder: Path) -> dict[str, Tensor]:
    """The encoder's tensors by its own names, from the safetensors file or else the pickle."""
    file = folder / "model.safetensors"
    tensors = map_safetensors(file) if file.is_file() else map_pickle(folder / "pytorch_model.bin")
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        for prefix in PREFIXES
        if name.startswith(prefix)
    }
