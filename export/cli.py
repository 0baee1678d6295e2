"""`avatar export`: a model to engines, built once and found again by what they were built for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from runtime.cli.command_values import own_characters
from runtime.engine.kinds import FILES, check_precision
from runtime.errors import AvatarError, BadInput
from runtime.stream.presets import PRESETS, find_preset

if TYPE_CHECKING:
    from export.building import Made, Target
    from export.windows import Values
    from runtime.engine.parts import DenoiserPart, WindowShape
    from runtime.models.dit.config import DiTConfig

app = typer.Typer(no_args_is_help=True, add_completion=False)
export = typer.Typer(
    help="Build engines for ONNX Runtime, TensorRT or TensorRT-RTX.", no_args_is_help=True
)
app.add_typer(export, name="export")
console = Console()

CALIBRATION_TICKS = 8
PICTURE_PX = 256
KINDS = ("onnx", "tensorrt", "tensorrt-rtx")

Model = Annotated[
    Path | None,
    typer.Option(help="A model's folder, or a released one. Default: the built-in model."),
]
Preset = Annotated[
    str | None, typer.Option(help="interactive, balanced or broadcast. Default: all.")
]
Speakers = Annotated[
    list[int], typer.Option(help="Speakers in the picture; give it once for each number.")
]
Precision = Annotated[str, typer.Option(help="What the denoiser computes in.")]
Out = Annotated[Path, typer.Option(help="The folder of engines.")]
Blocks = Annotated[int, typer.Option(help="Blocks an engine, where a model is built in blocks.")]
SizePx = Annotated[
    int, typer.Option("--size", help="Pixels of a side of a released model's picture.")
]
Windows = Annotated[
    Path | None,
    typer.Option(help="A .safetensors of recorded denoiser calls; released models need it in fp8."),
]
TextTokens = Annotated[int, typer.Option(help="Valid text tokens, of a released model.")]
LatentFrames = Annotated[int, typer.Option(help="Of a window, of a released model.")]


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    kind: str
    model: Path | None = None
    preset: str | None = None
    speakers: Sequence[int] = (1, 2)
    precision: str = "fp32"
    out: Path = FILES
    blocks: int = 1
    size_px: int = PICTURE_PX
    windows: Path | None = None
    latent_frames: int = 9
    text_tokens: int = 256


def _command(kind: str) -> None:
    """Adds `avatar export KIND`; the three differ in name only."""

    def command(
        model: Model = None,
        preset: Preset = None,
        speakers: Speakers = [1, 2],  # noqa: B006  typer copies it
        precision: Precision = "fp32",
        out: Out = FILES,
        blocks: Blocks = 1,
        size_px: SizePx = PICTURE_PX,
        windows: Windows = None,
        latent_frames: LatentFrames = 9,
        text_tokens: TextTokens = 256,
    ) -> None:
        request = Request(
            kind, model, preset, speakers, precision, out, blocks, size_px, windows,
            latent_frames, text_tokens,
        )  # fmt: skip
        try:
            run(request)
        except AvatarError as error:
            typer.echo(f"avatar export {kind}: {error}", err=True)
            raise typer.Exit(1) from error

    command.__doc__ = f"Build {kind} engines, or find that they are there."
    export.command(kind)(command)


for _kind in KINDS:
    _command(_kind)


def run(request: Request) -> None:
    """Builds what is asked for, or finds that it is there, and prints a table of it."""
    check_precision(request.kind, request.precision)
    from export.building import Target
    from export.cache import EngineCache

    cache = EngineCache(request.out)
    with console.status("Loading the model ..") as status:
        target = Target(request.kind, request.precision, cache, status.update)
        if request.model is not None and not (request.model / "dit.json").exists():
            made = _export_released(request, target)
        else:
            made = _export_model(request, target)
    _show(made)


def _export_model(request: Request, target: Target) -> list[Made]:
    """A model that streams: the built-in one or a folder of the same kind."""
    from export.building import make_denoiser, make_small_parts
    from export.windows import Walk, recorded, spoken_by
    from runtime.character.store import BUILTIN_CHARACTERS
    from runtime.engine.choice import denoiser_parts, stream_shape
    from runtime.weights.checkpoint import load, load_builtin

    model = load_builtin() if request.model is None else load(request.model)
    presets = PRESETS.values() if request.preset is None else [find_preset(request.preset)]
    parts, made = denoiser_parts(model.dit.config, request.blocks), []
    shapes = {  # presets with windows of one length share their engines, and so do characters
        stream_shape(model, character, preset.window): (character, preset)
        for preset in presets
        for speakers in request.speakers
        for character in spoken_by(speakers, (BUILTIN_CHARACTERS, own_characters()))
    }
    for shape, (character, preset) in shapes.items():
        record = partial(recorded, model, character, preset, CALIBRATION_TICKS)
        walk = Walk(model.dit, parts, shape, record)
        made += make_denoiser(model.dit, parts, shape, walk.at, target)
    return made + make_small_parts(model, shape.rows, shape.columns, target)


def _export_released(request: Request, target: Target) -> list[Made]:
    """The transformer of a released folder, checked on windows that a CPU can compute."""
    import torch

    from export.building import make_denoiser
    from export.windows import Walk, load_calls, seen_shape
    from runtime.engine.choice import denoiser_parts
    from runtime.engine.parts import WindowShape
    from runtime.hunyuan.weights.loading import load_dit

    assert request.model is not None
    if request.precision == "fp8" and request.windows is None:
        raise BadInput(
            "FP8 needs scales from real windows: give --windows FILE, calls recorded with "
            "export.windows.save_calls.",
            param="windows",
        )
    dit = load_dit(request.model, dtype=torch.bfloat16)
    side = request.size_px // 8
    parts, made = denoiser_parts(dit.config, request.blocks), []
    for speakers in dict.fromkeys(request.speakers):
        shape = WindowShape(request.latent_frames, speakers, side, side, request.text_tokens)
        windows: Callable[[DenoiserPart], list[Values]]
        if request.windows is None:
            seen = WindowShape(1, speakers, 8, 8, 8)
            windows = partial(_random_call, dit.config, seen)
        else:
            calls = load_calls(request.windows)
            seen = seen_shape(calls[0])
            windows = Walk(dit, parts, seen, partial(list, calls)).at
        made += make_denoiser(dit, parts, shape, windows, target, seen)
    return made


def _random_call(config: DiTConfig, shape: WindowShape, part: DenoiserPart) -> list[Values]:
    """A call of a part with random numbers, enough to compare it with torch."""
    from export.windows import random_values

    return [random_values(part.inputs(config), config, shape)]


def _show(made: list[Made]) -> None:
    """The engines, their sizes and how far they are from float64 torch."""
    table = Table("part", "precision", "for", "MB", "relative L2 error", "folder")
    for one in made:
        built = one.description.built
        size = sum((one.folder / name).stat().st_size for name in one.description.files) / 1e6
        error = "" if one.description.error is None else f"{one.description.error:.1e}"
        table.add_row(
            built.part, built.precision, built.shape, f"{size:.1f}", error, str(one.folder)
        )
    console.print(table)
