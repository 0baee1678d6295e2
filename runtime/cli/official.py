"""`avatar official`: videos of the released weights on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import (
    BarColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from runtime.cli.command_values import plain_errors
from runtime.cli.official_options import JobOptions, read_rows, to_job
from runtime.errors import BadInput

if TYPE_CHECKING:
    from runtime.hunyuan.offline.job import ClipJob, Progress
    from runtime.hunyuan.offline.loaded_model import ModelChoice
    from runtime.hunyuan.weights.lora import Lora

EMBEDDINGS = Path("~/.cache/avatar-server/embeddings")
SPEED_OVER_S = 24 * 3600.0  # steps take minutes; rich would forget them after 30 s

Dtype = Literal["bf16", "fp8", "fp32"]


def generate_official(
    weights: Annotated[Path, typer.Option(help="The folder of the released weights.")],
    image: Annotated[Path | None, typer.Option(help="The picture.")] = None,
    audio: Annotated[Path | None, typer.Option(help="The sound file of its one speaker.")] = None,
    speaker: Annotated[
        list[str] | None, typer.Option(help="speaker=file, once for each speaker.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The video: .mp4, .mov or .mkv.")] = Path("talk.mp4"),
    jobs: Annotated[
        Path | None, typer.Option(help="A CSV of jobs; its columns have the options' names.")
    ] = None,
    face: Annotated[
        list[str] | None,
        typer.Option(help="x,y,width,height, in fractions, or speaker=x,.. Default: found."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What to show.")] = None,
    prefix: Annotated[str | None, typer.Option(help="What goes in front of the prompt.")] = None,
    negative: Annotated[str | None, typer.Option(help="What to avoid.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Shorter side as in the release, or WxH, multiples of 16.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="25 or 12.5")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps. Default: 50")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Default: 7.5; 1 is without guidance, and twice as fast.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Default: 128")] = None,
    dtype: Annotated[Dtype, typer.Option(help="The form of the weights.")] = "bf16",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu")] = "cuda",
    low_memory: Annotated[
        bool, typer.Option("--low-memory", help="Weights in host memory, for cards of 24 GB.")
    ] = False,
    lora: Annotated[list[str] | None, typer.Option(help="FILE:STRENGTH, any number.")] = None,
    embeddings: Annotated[Path, typer.Option(help="Cache of the encoders' results.")] = EMBEDDINGS,
) -> None:
    """Make a video with the released HunyuanVideo-Avatar weights, exactly as the release does.

    If a run was interrupted, the same command continues after its last finished step.
    """
    with plain_errors():
        spoken = (*([str(audio)] if audio else []), *(speaker or []))
        options = JobOptions(
            image=image,
            audio=spoken,
            out=out,
            face=tuple(face or ()),
            prompt=prompt,
            prefix=prefix,
            negative=negative,
            size=size,
            fps=fps,
            steps=steps,
            guidance=guidance,
            seed=seed,
        )
        wanted = [to_job(one) for one in options_of_jobs(options, jobs)]
        choice = choose_model(weights, dtype, device, lora or [])
        make(wanted, replace(choice, low_memory=low_memory, embeddings=embeddings.expanduser()))


def options_of_jobs(options: JobOptions, rows: Path | None) -> list[JobOptions]:
    """One job, or those of a CSV whose videos do not exist yet."""
    if rows is None:
        return [options]
    asked = read_rows(rows, options)
    there = [one for one in asked if one.out is not None and one.out.exists()]
    for one in there:
        typer.echo(f"{one.out} exists and is not made again.")
    return [one for one in asked if one not in there]


def choose_model(weights: Path, dtype: Dtype, device: str, loras: Sequence[str]) -> ModelChoice:
    """The weights in a form, on a device. BadInput for a name that is no device."""
    import torch  # takes seconds

    from runtime.hunyuan.offline.loaded_model import ModelChoice

    try:
        where = torch.device(device)
    except RuntimeError:
        raise BadInput(
            f"There is no device {device!r}. Use cuda, cuda:1 or cpu.", param="device"
        ) from None
    return ModelChoice(
        weights,
        where,
        form="fp8" if dtype == "fp8" else "bf16",
        dtype=torch.float32 if dtype == "fp32" else torch.bfloat16,
        loras=tuple(map(parse_lora, loras)),
    )


def parse_lora(value: str) -> Lora:
    """`FILE:STRENGTH`, or a file alone for strength 1."""
    from runtime.hunyuan.weights.lora import Lora

    file, colon, strength = value.rpartition(":")
    if not colon:
        return Lora(Path(value))
    try:
        return Lora(Path(file), float(strength))
    except ValueError:
        raise BadInput(
            f"{value!r} is no LoRA. Give FILE:STRENGTH, such as style.safetensors:0.8.",
            param="lora",
        ) from None


def make(jobs: Sequence[ClipJob], choice: ModelChoice) -> None:
    """Makes the videos, with a progress bar for each stage."""
    from runtime.hunyuan.offline.job import make_clips

    if not jobs:
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, speed_estimate_period=SPEED_OVER_S) as bars:
        make_clips(jobs, choice, StageBars(bars))
    for job in jobs:
        typer.echo(f"{job.out}: done")


class StageBars:
    """Shows the progress that `make_clips` reports."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[tuple[Path, str], TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        """Adds or updates a bar. A resumed stage starts at its first reported count."""
        key = (progress.job.out, progress.stage)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(
                f"{progress.job.out.name} {progress.stage}",
                total=progress.total,
                completed=progress.done,  # type: ignore[arg-type]  # rich counts floats as well
            )
        self._bars.update(self._tasks[key], completed=progress.done)
