"""Tensors that a denoiser is exported and calibrated with: of real streams, or random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from export.modules import denoiser_part
from runtime.audio.features import CONTEXT_STEPS
from runtime.character.character import Character, Speaker
from runtime.character.store import BUILTIN_CHARACTERS, find_characters
from runtime.engine.parts import DenoiserPart, WindowShape, handed_on, named_values
from runtime.engine.torch_engine import eager
from runtime.errors import BadInput
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.timing import FRAMES_PER_LATENT, SAMPLE_RATE
from runtime.values import Box
from runtime.weights.checkpoint import AvatarModel

Values = dict[str, Tensor]


@dataclass(slots=True)
class Recorder:
    """The eager denoiser, keeping what it was called with."""

    dit: DiT
    calls: list[Values] = field(default_factory=list)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        named = named_values(x, step, window)
        self.calls.append({name: value.clone() for name, value in named.items()})
        return self.dit.denoise(x, step, window)


def recorded(
    model: AvatarModel, character: Character, preset: StreamPreset, ticks: int, seed: int = 0
) -> list[Values]:
    """What the denoiser is told while all speakers make sound: `ticks` * steps calls.

    The sound is noise whose loudness changes as syllables do.
    """
    recorder = Recorder(model.dit)
    engines = replace(eager(model), denoiser=recorder)
    stream = StreamingGenerator(model, character, preset, seed, engines=engines)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(ticks):
        for speaker in character.speaker_ids:
            missing = stream.needed_samples - stream.heard_samples(speaker)
            stream.push(speaker, _syllables(max(0, missing), generator).numpy())
        stream.tick()
    return recorder.calls


def spoken_by(speakers: int, roots: Sequence[Path] = (BUILTIN_CHARACTERS,)) -> list[Character]:
    """All characters in the folders `roots` with that many speakers.

    Where there are none: the first one's picture with as many boxes side by side.
    """
    characters = list(find_characters(roots).values())
    found = [each for each in characters if len(each.speakers) == speakers]
    return found or [_crowd(characters[0], speakers)]


def stand_in(speakers: int) -> Character:
    """One character with that many speakers, as `spoken_by` finds it."""
    return spoken_by(speakers)[0]


def _crowd(character: Character, speakers: int) -> Character:
    boxes = [Box(place / speakers, 0.2, 1 / speakers, 0.6) for place in range(speakers)]
    faces = tuple(Speaker(f"s{place}", "", box) for place, box in enumerate(boxes))
    return replace(character, speakers=faces)


def save_calls(calls: Sequence[Values], file: Path) -> None:
    """Writes recorded calls, for `avatar export --windows`."""
    flat = {f"{number}/{name}": v for number, call in enumerate(calls) for name, v in call.items()}
    save_file({name: value.contiguous() for name, value in flat.items()}, file)


def load_calls(file: Path) -> list[Values]:
    """What `save_calls` wrote. BadInput where the file is none of those."""
    try:
        flat = load_file(file)
        calls: dict[int, Values] = {}
        for key, value in flat.items():
            number, name = key.split("/")
            calls.setdefault(int(number), {})[name] = value
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(
            f"{file} holds no recorded calls ({error}). Write them with export.windows.save_calls.",
            param="windows",
        ) from error
    return [calls[number] for number in sorted(calls)]


class Walk:
    """What each part of a denoiser is given in recorded calls: parts are asked for in order."""

    def __init__(
        self,
        dit: DiT,
        parts: Sequence[DenoiserPart],
        shape: WindowShape,
        record: Callable[[], Sequence[Values]],
    ) -> None:
        self._dit, self._parts, self._shape, self._record = dit, parts, shape, record
        self._calls: list[Values] | None = None
        self._passed = 0

    @torch.inference_mode()
    def at(self, part: DenoiserPart) -> list[Values]:
        """The inputs of `part` in every call; the parts before it run in torch."""
        if self._calls is None:
            dtype = next(self._dit.parameters()).dtype
            self._calls = [
                {name: value.to(dtype) for name, value in call.items()} for call in self._record()
            ]
        while self._parts[self._passed] != part:
            self._pass(self._parts[self._passed], self._calls)
        names = part.inputs(self._dit.config)
        return [{name: call[name].clone() for name in names} for call in self._calls]

    def _pass(self, part: DenoiserPart, calls: list[Values]) -> None:
        exported = denoiser_part(self._dit, part, self._shape)
        for call in calls:
            found = exported.module(*(call[name] for name in exported.inputs))
            call |= handed_on(dict(zip(exported.outputs, found, strict=True)))
        self._passed += 1


def _syllables(samples: int, generator: torch.Generator) -> Tensor:
    time = torch.arange(samples) / SAMPLE_RATE
    loudness = 0.2 * torch.sin(2 * torch.pi * 4.0 * time).clamp(min=0)
    return loudness * torch.randn(samples, generator=generator)


def seen_shape(call: Values) -> WindowShape:
    """The shape of a recorded call of the whole denoiser."""
    batch, _, frames, rows, columns = call["latents"].shape
    speakers = call["masks"].shape[3]
    return WindowShape(frames, speakers, rows, columns, call["txt"].shape[1], batch)


def random_values(
    names: tuple[str, ...], config: DiTConfig, shape: WindowShape, seed: int = 0
) -> Values:
    """Normal numbers for those names; rotations are true rotations, masks lie in 0 .. 1."""
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
    if shape.kept_tokens is not None:  # a strip of them, see token_strip.py
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
    """A smooth random picture's anchor, and two latent frames near that picture's."""
    generator = torch.Generator().manual_seed(seed)
    stride = model.picture_multiple_px // model.dit.config.patch_size[1]
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
    size = (rows * stride, columns * stride)
    picture = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        state = model.autoencoder.start(picture)
        still = model.autoencoder.still(picture)
        latents = [still + 0.3 * torch.randn(still.shape, generator=generator) for _ in range(2)]
    values = {"latent": latents[0], "previous": latents[1], **state.anchor._asdict()}
    return {name: value.clone() for name, value in values.items()}


def sound_values(config: AudioEncoderConfig, seed: int = 0) -> Values:
    """A random log-mel of one window of sound."""
    generator = torch.Generator().manual_seed(seed)
    return {"mel": torch.randn(1, config.mel_bins, 2 * CONTEXT_STEPS, generator=generator)}
