"""`avatar export`: builds a model's engines, once for each set of weights, shapes and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from export.request import (
    ExportRequest,
    RecordRequest,
    export_engines,
    record_windows,
)
from runtime.cli.command_values import own_characters
from runtime.errors import AvatarError

if TYPE_CHECKING:
    from export.building import ExportedEngine

app = typer.Typer(no_args_is_help=True, add_completion=False)
export = typer.Typer(
    help="Build engines for ONNX Runtime, TensorRT or TensorRT-RTX.", no_args_is_help=True
)
app.add_typer(export, name="export")
console = Console()

KINDS = ("onnx", "tensorrt", "tensorrt-rtx")
USUAL = ExportRequest()
USUAL_RECORD = RecordRequest(Path())


Characters = Annotated[
    Path,
    typer.Option(
        help="Folder of your own characters; default: ~/.local/share/avatar-server/characters.",
        default_factory=own_characters,
        show_default=False,
    ),
]


def build(
    context: typer.Context,
    characters: Characters,
    model: Annotated[
        Path | None,
        typer.Option(help="A model's folder, or a released one. Default: the built-in model."),
    ] = USUAL.model,
    preset: Annotated[
        str | None, typer.Option(help="interactive, balanced or broadcast. Default: all.")
    ] = USUAL.preset,
    speakers: Annotated[
        list[int], typer.Option(help="Speakers in the picture; repeat it for several numbers.")
    ] = list(USUAL.speakers),  # noqa: B006  typer copies it
    precision: Annotated[str, typer.Option(help="The denoiser's number type.")] = USUAL.precision,
    out: Annotated[Path, typer.Option(help="The folder of engines.")] = USUAL.out,
    blocks: Annotated[
        int, typer.Option(help="Blocks per engine, of a large model.")
    ] = USUAL.blocks,
    size_px: Annotated[
        int, typer.Option("--size", help="Side of a released model's picture, px.")
    ] = USUAL.size_px,
    windows: Annotated[
        Path | None,
        typer.Option(help="Recorded by `avatar export windows`; FP8 of a released model needs it."),
    ] = USUAL.windows,
    latent_frames: Annotated[
        int, typer.Option(help="Per window, of a released model.")
    ] = USUAL.latent_frames,
    text_tokens: Annotated[
        int, typer.Option(help="Valid text tokens, of a released model.")
    ] = USUAL.text_tokens,
) -> None:
    kind = str(context.info_name)
    request = ExportRequest(
        kind, model, preset, speakers, precision, out, characters, blocks, size_px, windows,
        latent_frames, text_tokens,
    )  # fmt: skip
    with _plain_errors(kind), console.status("") as status:
        made = export_engines(request, status.update)
    _show(made)


for _kind in KINDS:
    export.command(_kind, help=f"Build {_kind} engines; those that are there are kept.")(build)


@export.command("windows")
def windows_command(
    model: Annotated[Path, typer.Option(help="A released folder.")],
    characters: Characters,
    character: Annotated[
        str | None, typer.Option(help="A character's id. Default: one with one speaker.")
    ] = USUAL_RECORD.character,
    preset: Annotated[
        str, typer.Option(help="interactive, balanced or broadcast.")
    ] = USUAL_RECORD.preset,
    ticks: Annotated[int, typer.Option(min=1, help="Of the stream.")] = USUAL_RECORD.ticks,
    size_px: Annotated[
        int, typer.Option("--size", help="Side of the picture, px. A small one is enough.")
    ] = USUAL_RECORD.size_px,
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu.")] = USUAL_RECORD.device,
    precision: Annotated[
        str, typer.Option(help="bf16, fp8 or fp32: of the recorded model.")
    ] = USUAL_RECORD.precision,
    decoder: Annotated[
        Path | None, typer.Option(help="A TAEHV file. Default: taehv.pth in the folder.")
    ] = USUAL_RECORD.decoder,
    embeddings: Annotated[
        Path | None, typer.Option(help="A folder that caches the text encoders' results.")
    ] = USUAL_RECORD.embeddings,
    out: Annotated[Path, typer.Option(help="The file to write.")] = USUAL_RECORD.out,
) -> None:
    """Record windows of a live stream of a released model, to calibrate its FP8 engines."""
    request = RecordRequest(
        model, character, characters, preset, ticks, size_px, device, precision, decoder,
        embeddings, out,
    )  # fmt: skip
    with _plain_errors("windows"), console.status("Recording .."):
        count = record_windows(request)
    megabytes = out.stat().st_size / 1e6
    typer.echo(f"{out}: {count} windows, {megabytes:.0f} MB. Use it: --windows {out}")


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Prints an AvatarError in one line and exits with 1."""
    try:
        yield
    except AvatarError as error:
        typer.echo(f"avatar export {name}: {error}", err=True)
        raise typer.Exit(1) from error


def _show(made: list[ExportedEngine]) -> None:
    """The engines, their sizes and how far they are from float64 torch."""
    part = Column("part", no_wrap=True)
    table = Table(part, "precision", "for", "MB", "relative L2 error", "folder")
    for one in made:
        built = one.description.built
        size = sum((one.folder / name).stat().st_size for name in one.description.files) / 1e6
        error = "" if one.description.error is None else f"{one.description.error:.1e}"
        table.add_row(
            built.part, built.precision, built.shape, f"{size:.1f}", error, str(one.folder)
        )
    console.print(table)
