"""The model's weights from a folder, strictly: dit, autoencoder and audio encoder.

Each part is a pair: `<part>.json`, its sizes, or an object with the sizes under the part's name and
how it was made beside them; and `<part>.safetensors`, half precision on disk and float32 in memory.
The model has no text encoder. Its constant prompt is stored with the denoiser's weights, as
`prompt.text_states` (L, text_dim) and `prompt.pooled_text` (pooled_text_dim,).
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.character.character import Character
from runtime.character.face_mask import face_masks
from runtime.errors import CheckpointError
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig
from runtime.models.autoencoder.compositing_decoder import SPATIAL_STRIDE
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.stream.model import Prompt
from runtime.values import Box
from runtime.weights.fit import misfits, not_finite, shapes_of, shown

BUILTIN_WEIGHTS = Path(__file__).parents[1] / "builtin" / "weights"
PROMPT_KEYS = ("prompt.text_states", "prompt.pooled_text")


@dataclass(frozen=True, slots=True)
class AvatarModel:
    """A model of our own format. Weights only; shared by all streams."""

    dit: DiT
    autoencoder: Autoencoder
    audio_encoder: AudioEncoder
    prompt: Prompt

    def __post_init__(self) -> None:
        for module in (self.dit, self.autoencoder, self.audio_encoder):
            module.eval().requires_grad_(False)
        _check_parts_fit(self)

    @property
    def device(self) -> torch.device:
        return self.prompt.states.device

    @property
    def picture_multiple_px(self) -> int:
        """Both sides of an image must be multiples of this."""
        return SPATIAL_STRIDE * self.dit.config.patch_size[1]

    def prompt_of(self, character: Character) -> Prompt:
        """The model's constant prompt, for every character."""
        return self.prompt

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        """As `StreamModel.masks_of`."""
        return face_masks(boxes, rows, columns, self.dit.config.patch_size[1])

    def precision(self) -> AbstractContextManager[object]:
        """As `StreamModel.precision`; these weights are float32."""
        return nullcontext()

    def to(self, device: str | torch.device) -> "AvatarModel":
        """The same weights on another device (modules are moved in place)."""
        return AvatarModel(
            self.dit.to(device),
            self.autoencoder.to(device),
            self.audio_encoder.to(device),
            Prompt(self.prompt.states.to(device), self.prompt.pooled.to(device)),
        )


def load_builtin() -> AvatarModel:
    """The model that is shipped with this package."""
    return load(BUILTIN_WEIGHTS)


def load(folder: Path) -> AvatarModel:
    """The model in a folder. CheckpointError names files, keys and shapes that do not fit, and
    tensors that hold NaN or infinity.
    """
    dit_config = DiTConfig.from_dict(_read_sizes(folder, "dit"))
    tensors = _read_tensors(folder, "dit")
    missing = [key for key in PROMPT_KEYS if key not in tensors]
    if missing:
        raise CheckpointError(
            f"{folder / 'dit.safetensors'} has no {' and no '.join(missing)}. The prompt's text "
            "embeddings are required: export the checkpoint again."
        )
    prompt = Prompt(*(tensors.pop(key) for key in PROMPT_KEYS))
    with torch.device("meta"):
        dit = DiT(dit_config)
        autoencoder = Autoencoder(AutoencoderConfig.from_dict(_read_sizes(folder, "autoencoder")))
        encoder = AudioEncoder(AudioEncoderConfig.from_dict(_read_sizes(folder, "audio_encoder")))
    fill(dit, tensors, folder / "dit.safetensors")
    for module, part in ((autoencoder, "autoencoder"), (encoder, "audio_encoder")):
        fill(module, _read_tensors(folder, part), folder / f"{part}.safetensors")
    return AvatarModel(dit, autoencoder, encoder, prompt)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Makes the tensors the module's own; CheckpointError unless all keys and shapes fit."""
    if problems := misfits(shapes_of(tensors), shapes_of(module.state_dict())):
        raise CheckpointError(
            f"{source} does not fit {source.with_suffix('.json').name}. {'. '.join(problems)}. "
            "The two must come from the same export: export the checkpoint again."
        )
    module.load_state_dict(dict(tensors), assign=True)


def _read_sizes(folder: Path, part: str) -> dict[str, Any]:
    file = folder / f"{part}.json"
    try:
        sizes = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing. A model folder has dit, autoencoder and audio_encoder, each as "
            ".json and .safetensors: check the path, or export the checkpoint again."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file} is no JSON ({error}). Export the model again.") from error
    if not isinstance(sizes, dict):
        raise CheckpointError(f"{file} has no JSON object. Export the model again.")
    inner: dict[str, Any] = sizes.get(part, sizes)
    return inner


def _read_tensors(folder: Path, part: str) -> dict[str, Tensor]:
    file = folder / f"{part}.safetensors"
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing. Export the model again.") from None
    except SafetensorError as error:
        raise CheckpointError(
            f"{file} is no complete safetensors file ({error}). Copy or export it again."
        ) from error
    if broken := not_finite(tensors):
        raise CheckpointError(
            f"{file} has NaN or infinite values in {len(broken)} tensors: {shown(broken)}. The "
            "file is damaged, or its training failed: copy or export it again."
        )
    return {key: value.float() for key, value in tensors.items()}


def _check_parts_fit(model: AvatarModel) -> None:
    dit, audio = model.dit.config, model.audio_encoder.config
    pairs = (
        ("audio width", dit.audio_dim, audio.width),
        ("audio hidden states", dit.audio_layers, audio.hidden_states),
        ("latent channels", dit.in_channels, model.autoencoder.config.latent_channels),
        ("text width", dit.text_dim, model.prompt.states.shape[-1]),
        ("pooled text width", dit.pooled_text_dim, model.prompt.pooled.shape[-1]),
    )
    for what, expected, found in pairs:
        if expected != found:
            raise CheckpointError(
                f"The denoiser expects {what} {expected}, the other part has {found}. "
                "Use parts of one export."
            )
