"""The model's weights from a folder, strictly: dit, autoencoder and audio encoder.

Each part is a pair `<part>.json` (its sizes, or an object with the sizes under the part's name and
how it was made beside them) and `<part>.safetensors`, half precision on disk and float32 in memory.
The constant prompt of a model without a text encoder lies beside the denoiser's weights as
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

BUILTIN_WEIGHTS = Path(__file__).parents[1] / "builtin" / "weights"
PROMPT_KEYS = ("prompt.text_states", "prompt.pooled_text")
NAMES_SHOWN = 5

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


@dataclass(frozen=True, slots=True)
class AvatarModel:
    """Weights only; shared by all streams."""

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
        """Both sides of a picture must be multiples of this."""
        return SPATIAL_STRIDE * self.dit.config.patch_size[1]

    def prompt_of(self, character: Character) -> Prompt:
        """The model's own prompt, whoever talks: it has no text encoder."""
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

    @classmethod
    def random(
        cls,
        seed: int,
        dit: DiTConfig = SMALL_DIT,
        autoencoder: AutoencoderConfig = SMALL_AUTOENCODER,
        audio_encoder: AudioEncoderConfig = SMALL_AUDIO_ENCODER,
    ) -> "AvatarModel":
        """Untrained weights in which everything has an effect, for tests. Seeds torch's default."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = cls(
                DiT(dit),
                Autoencoder(autoencoder),
                AudioEncoder(audio_encoder),
                Prompt(torch.randn(2, dit.text_dim), torch.randn(dit.pooled_text_dim)),
            )
            for parameter in model.dit.parameters():
                if not parameter.any():  # gates and outputs begin at zero
                    parameter.normal_(std=0.05)
        return model


def load_builtin() -> AvatarModel:
    """The model that is shipped with this package."""
    return load(BUILTIN_WEIGHTS)


def load(folder: Path) -> AvatarModel:
    """The model in a folder. CheckpointError names files, keys and shapes that do not fit."""
    dit_config = DiTConfig.from_dict(_read_sizes(folder, "dit"))
    tensors = _read_tensors(folder, "dit")
    missing = [key for key in PROMPT_KEYS if key not in tensors]
    if missing:
        raise CheckpointError(
            f"{folder / 'dit.safetensors'} has no {' and no '.join(missing)}: the prompt's text "
            "embeddings are needed. Export the checkpoint again."
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
    """Puts tensors in a module's place for them; every key and every shape must fit."""
    expected = module.state_dict()
    missing = sorted(set(expected) - set(tensors))
    unexpected = sorted(set(tensors) - set(expected))
    misshapen = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(tensors))
        if tensors[key].shape != expected[key].shape
    ]
    problems = [
        f"{len(names)} {kind}: {_shown(names)}"
        for kind, names in (
            ("keys missing", missing),
            ("keys unexpected", unexpected),
            ("shapes different", misshapen),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit {source.with_suffix('.json').name}. {'. '.join(problems)}. "
            "The two must come from the same export: export the checkpoint again."
        )
    module.load_state_dict(dict(tensors), assign=True)


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _read_sizes(folder: Path, part: str) -> dict[str, Any]:
    file = folder / f"{part}.json"
    try:
        sizes = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing. A model folder holds dit, autoencoder and audio_encoder, each as "
            ".json and .safetensors: check the folder, or export the checkpoint again."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file} is no JSON ({error}). Export the model again.") from error
    if not isinstance(sizes, dict):
        raise CheckpointError(f"{file} holds no JSON object. Export the model again.")
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
            f"{file} is no whole safetensors file ({error}). Copy or export it again."
        ) from error
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
