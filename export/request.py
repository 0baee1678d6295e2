"""Requests to export: engines of a model, or recorded windows of a released one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.engine.kinds import FILES, check_precision
from runtime.errors import BadInput
from runtime.stream.presets import PRESETS, find_preset, is_released, presets_of

if TYPE_CHECKING:
    from export.building import ExportedEngine, Target
    from export.example_inputs import Values
    from runtime.engine.parts import DenoiserPart, WindowShape
    from runtime.models.dit.config import DiTConfig

LATENT_PX = 8  # pixels along each side of a latent of a released model


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which engines to build; the fields are the options of `avatar export KIND`.

    The engines serve the built-in characters and those in the folder `characters`. The fields from
    `size_px` on are of a released model only.
    """

    kind: str = "onnx"
    model: Path | None = None  # None: the built-in model
    preset: str | None = None  # None: all
    speakers: Sequence[int] = (1, 2)
    precision: str = "fp32"
    out: Path = FILES
    characters: Path | None = None
    blocks: int = 1
    size_px: int = 256
    windows: Path | None = None
    latent_frames: int = 9
    text_tokens: int = 256


def export_engines(
    request: ExportRequest, progress: Callable[[str], None] = lambda text: None
) -> list[ExportedEngine]:
    """Builds the wanted engines; those that exist already are found.

    `progress` gets a line of text at every phase. Raises AvatarError.
    """
    check_precision(request.kind, request.precision)
    from export.building import Target
    from export.cache import EngineCache

    progress("Loading the model ..")
    target = Target(request.kind, request.precision, EngineCache(request.out), progress)
    if is_released(request.model):
        return _export_released(request, target)
    return _export_model(request, target)


def _export_model(request: ExportRequest, target: Target) -> list[ExportedEngine]:
    """A model that streams as it is: the built-in one, or a folder of the same kind."""
    from export.building import make_denoiser, make_small_parts
    from export.calibration import (
        CALIBRATION_TICKS,
        CalibrationCollector,
        recorded,
        spoken_by,
    )
    from runtime.engine.choice import stream_shape
    from runtime.engine.engine_keys import denoiser_parts
    from runtime.weights.checkpoint import load, load_builtin

    model = load_builtin() if request.model is None else load(request.model)
    presets = PRESETS.values() if request.preset is None else [find_preset(request.preset)]
    folders = [request.characters] if request.characters else []
    parts, made = denoiser_parts(model.dit.config, request.blocks), []
    shapes = {  # presets with windows of one length share their engines, and so do characters
        stream_shape(model, character, preset.window): (character, preset)
        for preset in presets
        for speakers in request.speakers
        for character in spoken_by(speakers, folders)
    }
    for shape, (character, preset) in shapes.items():
        record = partial(recorded, model, character, preset, CALIBRATION_TICKS)
        collector = CalibrationCollector(model.dit, parts, shape, record)
        made += make_denoiser(model.dit, parts, shape, collector.at, target)
    return made + make_small_parts(model, shape.rows, shape.columns, target)


def _export_released(request: ExportRequest, target: Target) -> list[ExportedEngine]:
    """The transformer of a released folder, checked on windows that a CPU can compute."""
    import torch

    from export.building import make_denoiser
    from export.calibration import CalibrationCollector, call_shape, load_calls
    from runtime.engine.engine_keys import denoiser_parts
    from runtime.engine.parts import WindowShape
    from runtime.hunyuan.weights.loading import load_dit

    assert request.model is not None
    if request.precision == "fp8" and request.windows is None:
        raise BadInput(
            "FP8 needs scales from real windows. Record some, avatar export windows, and name the "
            "file: --windows FILE.",
            param="windows",
        )
    dit = load_dit(request.model, dtype=torch.bfloat16)
    side = request.size_px // LATENT_PX
    parts, made = denoiser_parts(dit.config, request.blocks), []
    for speakers in dict.fromkeys(request.speakers):
        shape = WindowShape(request.latent_frames, speakers, side, side, request.text_tokens)
        windows: Callable[[DenoiserPart], list[Values]]
        if request.windows is None:
            checked = WindowShape(1, speakers, 8, 8, 8)
            windows = partial(_random_call, dit.config, checked)
        else:
            calls = load_calls(request.windows)
            checked = call_shape(calls[0])
            windows = CalibrationCollector(dit, parts, checked, partial(list, calls)).at
        made += make_denoiser(dit, parts, shape, windows, target, checked)
    return made


def _random_call(config: DiTConfig, shape: WindowShape, part: DenoiserPart) -> list[Values]:
    """A call of a part with random numbers, enough to compare it with torch."""
    from export.example_inputs import random_values

    return [random_values(part.inputs(config), config, shape)]


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """Which stream of a released model to record; the options of `avatar export windows`."""

    model: Path
    character: str | None = None  # None: the first one with one speaker
    characters: Path | None = None  # a folder of further characters
    preset: str = "balanced"
    ticks: int = 8
    size_px: int = 256
    device: str = "cuda"
    precision: str = "bf16"
    decoder: Path | None = None
    embeddings: Path | None = None
    out: Path = Path("windows.safetensors")


def record_windows(request: RecordRequest) -> int:
    """Runs a live stream of a released model and writes its denoiser calls into a file.

    Returns their number. Raises AvatarError.
    """
    import torch

    from export.calibration import recorded, save_calls, scaled, spoken_by
    from runtime.character.store import BUILTIN_CHARACTERS, find_character
    from runtime.media_files.outputs import check_output
    from runtime.open_model import LiveOptions, load_on

    if not is_released(request.model):
        raise BadInput(
            f"{request.model} is a model of the built-in kind. Its windows are recorded during the "
            "export: leave --windows out.",
            param="model",
        )
    check_output(request.out)
    preset = find_preset(request.preset, presets_of(request.model))
    if request.character is None:
        chosen = spoken_by(1)[0]
    else:
        folders = [request.characters] if request.characters else []
        chosen = find_character(request.character, (BUILTIN_CHARACTERS, *folders))
    with scaled(chosen, request.size_px) as character:
        options = LiveOptions(
            request.precision, request.decoder, request.embeddings, characters=(character,)
        )
        model = load_on(request.model, torch.device(request.device), options)
        calls = recorded(model, character, preset, request.ticks)
    save_calls(calls, request.out)
    return len(calls)
