"""Denoiser calls of real streams: recorded, kept in a file, and followed from part to part.

FP8 needs the range of every activation, so it is calibrated on real windows. The built-in model's
are recorded during the export; a released model's are recorded once, on a GPU, into a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from export.example_inputs import Values
from export.modules import denoiser_part
from runtime.character.character import Character, Speaker
from runtime.character.pictures import ReferenceImage, fit_picture
from runtime.character.store import BUILTIN_CHARACTERS, find_characters
from runtime.engine.parts import DenoiserPart, WindowShape, as_next_inputs, named_values
from runtime.engine.torch_engine import eager
from runtime.errors import BadInput
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.models.dit.dit import DiT
from runtime.stream.generator import StreamingGenerator
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.timing import SAMPLE_RATE
from runtime.values import Box

CALIBRATION_TICKS = 8


@dataclass(slots=True)
class RecordingDenoiser:
    """The eager denoiser; it keeps the inputs of every call, on the CPU."""

    dit: DiT
    calls: list[Values] = field(default_factory=list)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        named = named_values(x, step, window)
        self.calls.append({name: value.to("cpu", copy=True) for name, value in named.items()})
        return self.dit.denoise(x, step, window)


def recorded(
    model: StreamModel, character: Character, preset: StreamPreset, ticks: int, seed: int = 0
) -> list[Values]:
    """The denoiser's inputs while all speakers are audible: `ticks` * steps calls.

    The audio is noise whose loudness changes as that of syllables does.
    """
    recorder = RecordingDenoiser(model.dit)
    engines = replace(eager(model), denoiser=recorder)
    stream = StreamingGenerator(model, character, preset, seed, engines=engines)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(ticks):
        for speaker in character.speaker_ids:
            missing = stream.needed_samples - stream.pushed_samples(speaker)
            stream.push(speaker, _syllables(max(0, missing), generator).numpy())
        stream.tick()
    return recorder.calls


def _syllables(samples: int, generator: torch.Generator) -> Tensor:
    time = torch.arange(samples) / SAMPLE_RATE
    loudness = 0.2 * torch.sin(2 * torch.pi * 4.0 * time).clamp(min=0)
    return loudness * torch.randn(samples, generator=generator)


def spoken_by(speakers: int, folders: Iterable[Path] = ()) -> list[Character]:
    """All characters with that many speakers: the built-in ones, then those in `folders`.

    If there are none: the first character's picture with as many face boxes side by side.
    """
    characters = list(find_characters((BUILTIN_CHARACTERS, *folders)).values())
    found = [each for each in characters if len(each.speakers) == speakers]
    return found or [_crowd(characters[0], speakers)]


def _crowd(character: Character, speakers: int) -> Character:
    boxes = [Box(place / speakers, 0.2, 1 / speakers, 0.6) for place in range(speakers)]
    faces = tuple(Speaker(f"s{place}", "", box) for place, box in enumerate(boxes))
    return replace(character, speakers=faces)


@contextmanager
def scaled(character: Character, size_px: int) -> Iterator[Character]:
    """The character with its picture cropped and scaled to a square, in a temporary folder."""
    boxes = [speaker.box for speaker in character.speakers]
    picture, moved = fit_picture(Image.fromarray(character.picture.pixels), boxes, size_px, size_px)
    faces = zip(character.speakers, moved, strict=True)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        picture.save(file)
        speakers = tuple(replace(speaker, box=box) for speaker, box in faces)
        yield replace(
            character,
            folder=Path(folder),
            picture=ReferenceImage.load(file),
            speakers=speakers,
            emotions={},
        )


def save_calls(calls: Sequence[Values], file: Path) -> None:
    """Writes recorded calls for `load_calls`. BadInput if the file cannot be written."""
    flat = {f"{number}/{name}": v for number, call in enumerate(calls) for name, v in call.items()}
    aside = file.with_name(f"{file.name}.part")
    try:
        save_file({name: value.contiguous() for name, value in flat.items()}, aside)
        aside.replace(file)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        raise BadInput(
            f"{file} cannot be written ({error}). Make room, or choose another --out.", param="out"
        ) from error


def load_calls(file: Path) -> list[Values]:
    """The calls that `save_calls` wrote. BadInput if the file holds none."""
    calls: dict[int, Values] = {}
    try:
        for key, value in load_file(file).items():
            number, name = key.split("/")
            calls.setdefault(int(number), {})[name] = value
        call_shape(calls[0])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInput(
            f"{file} holds no recorded windows ({error}). Record some: avatar export windows.",
            param="windows",
        ) from error
    return [calls[number] for number in sorted(calls)]


def call_shape(call: Values) -> WindowShape:
    """The shape of a recorded call of the whole denoiser."""
    batch, _, frames, rows, columns = call["latents"].shape
    speakers = call["masks"].shape[3]
    return WindowShape(frames, speakers, rows, columns, call["txt"].shape[1], batch)


class CalibrationCollector:
    """The inputs of each part of a denoiser in recorded calls; ask for the parts in their order."""

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
            call |= as_next_inputs(dict(zip(exported.outputs, found, strict=True)))
        self._passed += 1
