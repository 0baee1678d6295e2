"""`avatar weights`: download, check and convert the released weights, and plan their memory."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from runtime.cli.command_values import plain_errors
from runtime.hunyuan.layout import REPOSITORY, Form, form_named
from runtime.hunyuan.weights.fetching import TERMS, HuggingFaceHub

GB = 1e9
GIB = 2**30

app = typer.Typer(help="The released 13 B weights: fetch, check, convert.", no_args_is_help=True)

Release = Annotated[Path, typer.Argument(metavar="DIR", help="The downloaded folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("weights"),
    form: Annotated[
        list[str] | None,
        typer.Option(help="bf16 or fp8; again for both. Default: bf16."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept without a question.")
    ] = False,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    repository: Annotated[str, typer.Option(help="On the Hugging Face hub.")] = REPOSITORY,
    endpoint: Annotated[str | None, typer.Option(help="A mirror of the hub.")] = None,
) -> None:
    """Download the release, after you accept its licence; run it again to continue."""
    hub = HuggingFaceHub(repository, revision, endpoint)
    with plain_errors():
        forms = [form_named(name) for name in form or ["bf16"]]
        typer.echo(TERMS)
        found = hub.look(folder, forms)
        typer.echo(
            f"{len(found.files)} files, {found.bytes / GB:.1f} GB, of which "
            f"{found.missing_bytes / GB:.1f} GB are to be downloaded to {folder}."
        )
        if not accept_licence:
            question = "Do you accept the agreement, and are you outside of these territories?"
            typer.confirm(question, abort=True)
        hub.fetch(folder, forms)
        typer.echo(f"Fetched. Check it: avatar weights check {folder}")


@app.command()
def check(
    folder: Release,
    hashes: Annotated[
        bool, typer.Option(help="Compare SHA-256 sums too, if they are known.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Report for each part whether it is complete and fits, and what to do if not."""
    from runtime.hunyuan.report.checking import check_release

    marks = {"ok": "ok      ", "absent": "absent  ", "problem": "PROBLEM "}
    found = []
    for one in check_release(folder, hashes=hashes):
        found.append(one)
        if not as_json:
            typer.echo(f"{marks[one.state]}{one.part}: {one.sentence}")
    if as_json:
        parts = [{"part": one.part, "state": one.state, "what": one.sentence} for one in found]
        typer.echo(json.dumps(parts, indent=2))
    if any(one.state == "problem" for one in found):
        raise typer.Exit(1)


@app.command()
def convert(
    folder: Release,
    to: Annotated[
        Form, typer.Option(help="fp8: the released file if it is there, else made from bf16.")
    ] = "bf16",
    out: Annotated[Path | None, typer.Option(help="Default: beside the released files.")] = None,
    shard: Annotated[float, typer.Option(help="GB a file.")] = 2.0,
) -> None:
    """Write the transformer as safetensors, which load faster and contain no code."""
    from runtime.hunyuan.weights.converting import convert as write

    with plain_errors(), typer.progressbar(length=100, label=f"to {to}") as bar:
        done = write(
            folder,
            to,
            out,
            int(shard * GB),
            lambda share: bar.update(round(100 * share) - bar.pos),
        )
    typer.echo(f"{done.index}: {len(done.shards)} files, {done.bytes / GB:.1f} GB.")


@app.command()
def plan(
    gpu: Annotated[float, typer.Option(help="Memory of the GPU, GiB.")],
    width: Annotated[int, typer.Option(help="Of the video, px.")] = 704,
    height: Annotated[int, typer.Option(help="Of the video, px.")] = 768,
    frames: Annotated[int, typer.Option(help="Of video, 25 a second.")] = 129,
    as_json: AsJson = False,
) -> None:
    """Print what runs where and the expected peak memory, for bf16 and FP8, with and without
    offloading.
    """
    from runtime.hunyuan.report.memory_plan import Workload, first_that_fits, plan_memory

    with plain_errors():
        modes = plan_memory(Workload(width, height, frames))
    best = first_that_fits(modes, int(gpu * GIB))
    if as_json:
        typer.echo(json.dumps([mode.summary() | {"best": mode is best} for mode in modes]))
        return
    table = Table("options", "stage", "on the GPU", "in host memory", "peak, GiB")
    for mode in modes:
        for stage in mode.stages:
            peak = f"{stage.peak_bytes / GIB:.1f}"
            first = mode.options if stage is mode.stages[0] else ""
            table.add_row(first, stage.name, stage.on_gpu, stage.on_host, peak)
        fits = "fits" if mode.peak_bytes <= gpu * GIB else "does not fit"
        table.add_row("", "", "", fits, f"{mode.peak_bytes / GIB:.1f}", end_section=True)
    Console().print(table)
    if best is None:
        typer.echo(f"Nothing fits in {gpu:g} GiB. Use a smaller picture or a larger GPU.")
        raise typer.Exit(1)
    typer.echo(f"For {gpu:g} GiB: avatar official --weights DIR {best.options} ...")
