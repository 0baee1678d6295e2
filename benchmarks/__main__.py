"""`python -m benchmarks`: measure everything that this machine can, print it, keep it as JSON.

    python -m benchmarks quality | generator | latency | interruption | soak | engines
    python -m benchmarks matmul-peak | readme
    python -m benchmarks model --size 13b --random-weights --preset live-512 --precision fp8

`avatar bench` is the same command. `make bench` runs all that needs no GPU: not `model`, nor `gpu`,
which is everything that needs one, in eight minutes. Results lie in benchmarks/results, one file a
benchmark, and `readme` writes README's table from them.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


def keep(name: str, values: dict[str, Any], command: str | None = None) -> None:
    """Show a result as a table, then as one line of JSON, and write it down.

    `command` is what was run, if that is not the benchmark's name.
    """
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = {
        "command": f"python -m benchmarks {command or name}",
        "machine": machine(),
        "git": git.stdout.strip(),
        "day": datetime.now(UTC).date().isoformat(),
        "values": values,
    }
    table = Table("measured", "value", title=name, title_justify="left")
    for key, value in flatten(values).items():
        table.add_row(key, f"{value:.3g}" if isinstance(value, float) else str(value))
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = flatten(value, f"{prefix}{key}: ") if isinstance(value, dict) else None
        flat |= inner if inner is not None else {prefix + key: value}
    return flat


def machine() -> str:
    """The processor, the number of cores, and the GPU if there is one."""
    import os

    import torch

    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(": ")[1] if names else platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


@app.command()
def quality(
    preset: str = "interactive",
    seconds: float = 10.0,
    singles: int = 8,
    pairs: int = 4,
    model: Annotated[
        Path | None, typer.Option(help="A folder; the built-in model if none.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps; the preset's if not given.")
    ] = None,
) -> None:
    """Lip sync, closed lips, identity and isolation, measured from generated pixels."""
    from benchmarks import quality as bench
    from runtime.stream.presets import find_preset
    from runtime.weights.checkpoint import load, load_builtin

    tried, schedule = load(model) if model else load_builtin(), find_preset(preset)
    name, command = "quality", "quality"
    if model:
        name, command = f"{name}-{tried.dit.config.injection}", f"{command} --model {model}"
    if steps:
        name, command = f"{name}-{steps}-steps", f"{command} --steps {steps}"
        schedule = replace(schedule, steps=steps)
    keep(name, bench.run(tried, schedule, seconds, singles, pairs), command)


@app.command()
def generator(seconds: float = 10.0, threads: int = 1) -> None:
    """Compute time over media time of the library alone, for every preset.

    With one thread, as the server has on two cores.
    """
    from benchmarks import speed

    keep("generator", speed.run(seconds, threads))


@app.command()
def latency(count: int = 10) -> None:
    """First moving picture and CPU of a warm server, interactive preset."""
    from benchmarks import live

    with live.running_server() as server:
        keep("latency", live.latency(server, count))


@app.command()
def interruption(count: int = 20) -> None:
    """From an interruption to the last open mouth."""
    from benchmarks import live

    with live.running_server() as server:
        keep("interruption", live.interruption(server, count))


@app.command()
def soak(minutes: float = 10.0) -> None:
    """One long session: memory, drift and lip sync from its first to its last minute."""
    from benchmarks import soak as bench

    keep("soak", bench.run(minutes))


@app.command()
def engines(
    folder: Annotated[Path, typer.Option(help="Engines; built where missing.")] = Path("engines"),
    threads: int = 2,
    rounds: int = 20,
    seconds: Annotated[float, typer.Option(help="How long each character talks.")] = 8.0,
) -> None:
    """ONNX Runtime against torch eager in one run: speed, difference, and what the lips show."""
    from benchmarks import engines as bench

    keep("engines", bench.run(folder, threads, rounds, seconds))


@app.command("matmul-peak")
def matmul_peak(threads: int = 2) -> None:
    """The CPU's float32 peak and the share of it that a call of the transformer reaches."""
    from benchmarks import matmul_peak as bench

    keep("matmul-peak", bench.run(threads), f"matmul-peak --threads {threads}")


@app.command()
def model(
    size: Annotated[str, typer.Option(help="13b or tiny.")] = "13b",
    preset: Annotated[str, typer.Option(help="Windows, steps and picture size.")] = "live-512",
    precision: Annotated[str, typer.Option(help="bf16, fp8, fp8-attention or fp32.")] = "bf16",
    engine: Annotated[str, typer.Option(help="eager, compiled or fused.")] = "fused",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu.")] = "cuda",
    runs: Annotated[int, typer.Option(help="Timed calls.")] = 10,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Needed: no other weights are measured.")
    ] = False,
) -> None:
    """A model of any size with random weights: its steps, the decoder, the device's peak."""
    from benchmarks import model as bench
    from runtime.errors import AvatarError

    if not random_weights:
        raise typer.BadParameter("speed does not depend on the weights: give --random-weights")
    flags = f"--size {size} --preset {preset} --precision {precision} --engine {engine}"
    try:
        values = bench.run(size, preset, precision, engine, bench.device_named(device), runs)
    except AvatarError as error:
        typer.echo(f"avatar bench model: {error}", err=True)
        raise typer.Exit(1) from None
    name = f"model-{size}-{preset}-{precision}-{engine}"
    keep(name, values, f"model {flags} --device {device} --random-weights")


@app.command()
def gpu(
    runs: Annotated[int, typer.Option(help="Timed calls.")] = 10,
    size: Annotated[str, typer.Option(help="13b or tiny.")] = "13b",
    preset: Annotated[str, typer.Option(help="Windows, steps and picture size.")] = "live-512",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu, to try it.")] = "cuda",
    budget_s: Annotated[float, typer.Option("--seconds", help="What it may take.")] = 460.0,
) -> None:
    """All that needs a GPU: the 13 B model's calls and streams, the GPU tests, TensorRT's engines.

    On a CPU, with --size tiny --preset smoke, the same code is tried and nothing is kept.
    """
    from functools import partial

    from benchmarks import gpu_check
    from benchmarks import model as bench
    from runtime.errors import AvatarError

    try:
        check = gpu_check.Check(bench.device_named(device), size, preset, runs)
        if check.device.type == "cuda":
            gpu_check.run(check, partial(keep, "gpu"), budget_s)
        else:
            trial = gpu_check.on_a_cpu(check)
            print(json.dumps(gpu_check.run(trial, lambda values: None, budget_s)))
    except AvatarError as error:
        typer.echo(f"avatar bench gpu: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def readme() -> None:
    """Write README's table from the kept results."""
    from benchmarks import report

    report.write(RESULTS, Path(__file__).parent.parent / "README.md")


@app.command("all")
def everything() -> None:
    """All of them, then README's table."""
    steps: tuple[Callable[[], None], ...] = (
        quality, generator, engines, matmul_peak, latency, interruption, soak, readme,
    )  # fmt: skip
    for step in steps:
        step()


if __name__ == "__main__":
    app()
