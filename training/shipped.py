"""The folders of the built-in model, which training writes and the runtime reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import runtime
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig

Module = TypeVar("Module", bound=nn.Module)

BUILTIN = Path(runtime.__file__).parent / "builtin"
WEIGHTS = BUILTIN / "weights"
CHARACTERS = BUILTIN / "characters"


def load_autoencoder(folder: Path = WEIGHTS) -> Autoencoder:
    """The exported autoencoder in float32, ready for use."""
    return _load(folder, "autoencoder", lambda c: Autoencoder(AutoencoderConfig.from_dict(c)))


def load_audio_encoder(folder: Path = WEIGHTS) -> AudioEncoder:
    """The exported audio encoder in float32, ready for use."""
    return _load(folder, "audio_encoder", lambda c: AudioEncoder(AudioEncoderConfig.from_dict(c)))


def _load(folder: Path, part: str, build: Callable[[dict[str, Any]], Module]) -> Module:
    model = build(json.loads((folder / f"{part}.json").read_text())[part])
    tensors = load_file(folder / f"{part}.safetensors")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})
    return model.eval()


def save_part(
    part: str,
    tensors: dict[str, Tensor],
    config: dict[str, Any],
    command: str,
    folder: Path = WEIGHTS,
) -> None:
    """Write a part for shipping: weights in half precision, sizes, and the command that made it."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {k: v.detach().half().contiguous().cpu() for k, v in tensors.items()}
    save_file(halves, folder / f"{part}.safetensors")
    about = {part: config, "made_with": command}
    (folder / f"{part}.json").write_text(json.dumps(about, indent=1) + "\n")


def share_parts(folder: Path) -> None:
    """Copy the shipped autoencoder and audio encoder beside an experimental denoiser."""
    for part in ("autoencoder", "audio_encoder"):
        for file in (f"{part}.json", f"{part}.safetensors"):
            shutil.copyfile(WEIGHTS / file, folder / file)
