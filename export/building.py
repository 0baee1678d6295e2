"""From a model to engines in a folder: export, quantise, verify, build, describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
from torch import Tensor

from export import modules
from export.cache import EngineCache
from export.example_inputs import Values, decoder_values, mel_values, random_values
from export.modules import Exportable
from export.quantize import activation_peaks, to_fp8, to_int8
from export.to_onnx import DTYPES, WEIGHTS, save_graph, to_graph
from export.to_tensorrt import build_plan
from export.verify import check_error, error_of
from runtime.engine.description import EngineDescription, EngineKey, TensorSpec, file_hash
from runtime.engine.engine_keys import (
    audio_encoder_key,
    decoder_key,
    denoiser_key,
)
from runtime.engine.onnx_engine import MODEL
from runtime.engine.parts import DenoiserPart, WindowShape
from runtime.engine.trt.library import PLAN, TensorRT
from runtime.models.dit.dit import DiT
from runtime.weights.checkpoint import AvatarModel

Progress = Callable[[str], None]
Served = tuple[Exportable, Values]


@dataclass(frozen=True, slots=True)
class Target:
    """The kind and precision of the engines to build, and their cache."""

    kind: str  # "onnx", "tensorrt" or "tensorrt-rtx"
    precision: str
    cache: EngineCache
    progress: Progress = lambda text: None


@dataclass(frozen=True, slots=True)
class ExportedEngine:
    """One engine in the cache."""

    folder: Path
    description: EngineDescription


def make_denoiser(
    dit: DiT,
    parts: Sequence[DenoiserPart],
    shape: WindowShape,
    windows: Callable[[DenoiserPart], Sequence[Values]],
    target: Target,
    checked: WindowShape | None = None,
) -> list[ExportedEngine]:
    """The denoiser's engines, one a part.

    `windows` gives each part's inputs in several calls. They calibrate FP8, and the part's outputs
    for them are compared with torch. They may have another shape, `checked`: a CPU cannot check a
    large window, and scales do not depend on the shape.
    """
    made = []
    for part in parts:
        built = denoiser_key(dit, part, shape, target.kind, target.precision)
        exportable = modules.denoiser_part(dit, part, checked or shape)
        served = None
        if checked is not None and checked != shape:
            fixed = random_values(part.inputs(dit.config), dit.config, shape)
            served = modules.denoiser_part(dit, part, shape), fixed
        made.append(_make(exportable, partial(windows, part), built, target, served))
    return made


def make_small_parts(
    model: AvatarModel, rows: int, columns: int, target: Target
) -> list[ExportedEngine]:
    """The decoder's and the audio encoder's engines, in fp32."""
    return [
        _make(
            modules.decoder(model.autoencoder),
            lambda: [decoder_values(model, rows, columns)],
            decoder_key(model, rows, columns, target.kind),
            target,
        ),
        _make(
            modules.audio_encoder(model.audio_encoder),
            lambda: [mel_values(model.audio_encoder.config)],
            audio_encoder_key(model, target.kind),
            target,
        ),
    ]


def _make(
    part: Exportable,
    windows: Callable[[], Sequence[Values]],
    built: EngineKey,
    target: Target,
    served: Served | None = None,
) -> ExportedEngine:
    def build(folder: Path) -> EngineDescription:
        return build_engine(part, windows(), built, folder, target.progress, served)

    return ExportedEngine(*target.cache.engine(built, build))


def build_engine(
    part: Exportable,
    windows: Sequence[Values],
    built: EngineKey,
    folder: Path,
    progress: Progress = lambda text: None,
    served: Served | None = None,
) -> EngineDescription:
    """Writes the engine's files into `folder` and describes them.

    `served` is the part in the engine's shapes, if the shapes of `windows` are others. EngineError
    if the engine differs from torch by more than its precision explains.
    """
    progress(f"{part.name}: export")
    graph = to_graph(part, windows[0], built.precision)
    peaks: dict[str, float] = {}
    if built.precision == "fp8":
        progress(f"{part.name}: calibrate on {len(windows)} windows")
        peaks = activation_peaks(graph, windows)
        graph = to_fp8(graph, peaks)
    progress(f"{part.name}: compare with float64 torch")
    error = error_of(graph, part, windows[-1])
    check_error(error, part.name, built.precision)
    values = windows[0]
    if served is not None:
        progress(f"{part.name}: export in the engine's shapes")
        values = served[1]
        graph = to_graph(*served, built.precision)
        graph = to_fp8(graph, peaks) if peaks else graph
    inputs, outputs = _specs(graph, part, values, built.precision)
    save_graph(graph, folder)
    if built.kind != "onnx":
        _compile(folder, part.name, built.kind, progress)
    elif built.precision == "int8":
        error = _quantise_file(folder, part, windows[-1])
    hashes = {file.name: file_hash(file) for file in sorted(folder.iterdir())}
    return EngineDescription(built, inputs, outputs, hashes, error)


def _compile(folder: Path, name: str, kind: str, progress: Progress) -> None:
    """Replaces the ONNX files by the TensorRT engine built from them."""
    plan = build_plan(
        TensorRT.named(kind), folder / MODEL, lambda phase: progress(f"{name}: {phase}")
    )
    (folder / PLAN).write_bytes(plan.engine)
    for file in (MODEL, WEIGHTS):
        (folder / file).unlink(missing_ok=True)


def _specs(
    graph: onnx.ModelProto, part: Exportable, values: Mapping[str, Tensor], precision: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Shapes and number types of inputs and outputs."""
    dtype = str(DTYPES[precision]).removeprefix("torch.")
    inputs = tuple(TensorSpec(name, dtype, tuple(values[name].shape)) for name in part.inputs)
    sizes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in graph.graph.output
    }
    return inputs, tuple(TensorSpec(name, dtype, sizes[name]) for name in part.outputs)


def _quantise_file(folder: Path, part: Exportable, values: Mapping[str, Tensor]) -> float:
    """Replaces the float32 file by an int8 one. Returns its relative L2 error."""
    wide = folder / "float32.onnx"
    (folder / MODEL).rename(wide)
    to_int8(wide, folder / MODEL)
    for file in (wide, folder / WEIGHTS):
        file.unlink(missing_ok=True)
    return error_of(onnx.load(str(folder / MODEL)), part, values)
