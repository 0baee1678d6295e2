"""`python -m benchmarks`: measure everything that this machine can, print it, keep it as JSON.

    python -m benchmarks quality | generator | latency | interruption | soak | engines
    python -m benchmarks loop-lag | audio-path | matmul-peak | report | compare BEFORE AFTER
    python -m benchmarks model --size 13b --preset live-512 --precision fp8

`avatar bench` is the same command. `make bench` runs all that needs no GPU: not `model`, nor `gpu`,
which runs everything that needs one in eight minutes. Results lie in benchmarks/results, one file a
benchmark; `report` writes docs/benchmarks.md and README's short table from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import compare as comparison
from benchmarks.record import RESULTS, console, keep

app = typer.Typer(add_completion=False, help=__doc__)
REPOSITORY = Path(__file__).parent.parent


@app.command()
def quality(
    preset: str = "interactive",
    seconds: float = 10.0,
    singles: int = 8,
    pairs: int = 4,
    model: Annotated[
        Path | None, typer.Option(help="A model's folder. Default: the built-in model.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps. Default: the preset's.")
    ] = None,
) -> None:
    """Measure lip sync, closed lips, identity and isolation from generated pixels."""
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
    """Measure compute time over media time of the library alone, for every preset.

    The default of one thread is the server's on two cores.
    """
    from benchmarks import generator as bench

    keep("generator", bench.run(seconds, threads))


@app.command()
def latency(count: int = 10) -> None:
    """Measure first sound, first moving picture and CPU of a warm server, preset interactive."""
    from benchmarks import running_server as bench

    with bench.running_server() as server:
        keep("latency", bench.latency(server, count))


@app.command()
def interruption(count: int = 20) -> None:
    """Measure the time from an interruption to the last open mouth."""
    from benchmarks import running_server as bench

    with bench.running_server() as server:
        keep("interruption", bench.interruption(server, count))


@app.command("loop-lag")
def loop_lag() -> None:
    """Measure how late the event loop runs while 20 sessions open and change their settings."""
    from benchmarks import loop_lag as bench

    keep("loop-lag", bench.run())


@app.command("audio-path")
def audio_path() -> None:
    """Count the files, and the moves between files, of an audio chunk's way through the server."""
    from benchmarks import audio_path as bench

    keep("audio-path", bench.run())


@app.command()
def soak(minutes: float = 10.0) -> None:
    """Run one long session: memory, drift and lip sync from its first to its last seconds."""
    from benchmarks import soak as bench

    keep("soak", bench.run(minutes))


@app.command("server-soak")
def server_soak(minutes: float = 60.0) -> None:
    """Run one server and one session for a long time: memory, pictures, a stop of five seconds."""
    from benchmarks import server_soak as bench

    keep("server-soak", bench.run(minutes))


@app.command()
def attack(
    names: Annotated[
        list[str] | None, typer.Argument(help="Beginnings of attacks' names. Default: all.")
    ] = None,
    messages: Annotated[int, typer.Option(help="Hostile messages; 0 leaves them out.")] = 1_000_000,
    cycles: Annotated[int, typer.Option(help="Sessions that come and go; 0: none.")] = 1_000,
    suites: Annotated[
        bool, typer.Option("--suites", help="Also others' test suites; see the extra `attack`.")
    ] = False,
) -> None:
    """Attack a server in every known way, with a healthy session beside it."""
    from benchmarks.attack import run as bench

    flags = f"attack --messages {messages} --cycles {cycles}"
    if not names and messages:
        keep("hostile-messages", bench.messages(messages), flags)
    if not names and cycles:
        keep("connection-cycles", bench.connections(cycles), flags)
    if suites:
        keep("conformance", bench.conformance_suites(), "attack --suites")
    values = bench.run(names or ())
    if names:
        console.print_json(json.dumps(values))
    else:
        keep("attacks", values, flags)


@app.command()
def engines(
    folder: Annotated[Path, typer.Option(help="Missing engines are built.")] = Path("engines"),
    threads: int = 2,
    rounds: int = 20,
    seconds: Annotated[float, typer.Option(help="Speech of each character.")] = 8.0,
) -> None:
    """Compare ONNX Runtime with torch eager in one run: speed, difference and lip sync."""
    from benchmarks import engines as bench

    keep("engines", bench.run(folder, threads, rounds, seconds))


@app.command("matmul-peak")
def matmul_peak(threads: int = 2) -> None:
    """Measure the CPU's float32 peak and the share of it that a transformer call reaches."""
    from benchmarks.random_weights import matmul_peak as bench

    keep("matmul-peak", bench.run(threads), f"matmul-peak --threads {threads}")


@app.command()
def model(
    size: Annotated[str, typer.Option(help="13b or tiny.")] = "13b",
    preset: Annotated[str, typer.Option(help="Windows, steps and picture size.")] = "live-512",
    precision: Annotated[str, typer.Option(help="bf16, fp8, fp8-attention or fp32.")] = "bf16",
    engine: Annotated[str, typer.Option(help="eager, compiled or fused.")] = "fused",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu.")] = "cuda",
    runs: Annotated[int, typer.Option(help="Timed calls.")] = 10,
) -> None:
    """Measure a model with random weights: its steps, the decoder, the device's peak.

    Speed does not depend on the weights.
    """
    from benchmarks.random_weights import model_speed as bench
    from runtime.errors import AvatarError

    flags = f"--size {size} --preset {preset} --precision {precision} --engine {engine}"
    try:
        values = bench.run(size, preset, precision, engine, bench.device_named(device), runs)
    except AvatarError as error:
        typer.echo(f"avatar bench model: {error}", err=True)
        raise typer.Exit(1) from None
    name = f"model-{size}-{preset}-{precision}-{engine}"
    keep(name, values, f"model {flags} --device {device}")


@app.command()
def gpu(
    runs: Annotated[int, typer.Option(help="Timed calls.")] = 10,
    size: Annotated[str, typer.Option(help="13b or tiny.")] = "13b",
    preset: Annotated[str, typer.Option(help="Windows, steps and picture size.")] = "live-512",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, .. or cpu for a trial.")] = "cuda",
    budget_s: Annotated[float, typer.Option("--seconds", help="Time limit.")] = 460.0,
) -> None:
    """Measure all that needs a GPU: the 13 B model's calls and streams, tests, TensorRT engines.

    On a CPU, with --size tiny --preset smoke, the same code runs and nothing is kept.
    """
    from functools import partial

    from benchmarks.random_weights import gpu_check
    from benchmarks.random_weights import model_speed as bench
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
def report(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write docs/benchmarks.md and README's short table from the kept results."""
    from benchmarks import report as pages

    if not check:
        pages.write(RESULTS, REPOSITORY)
        return
    for file in (outdated := pages.stale(RESULTS, REPOSITORY)):
        name = file.relative_to(REPOSITORY)
        typer.echo(f"{name} is out of date. Run `python -m benchmarks report`.", err=True)
    if outdated:
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A folder of result files.")],
    after: Annotated[Path, typer.Argument(help="The folder to compare with it.")],
    noise: Annotated[
        float, typer.Option(min=0.0, help="Share by which figures may differ by chance.")
    ] = comparison.NOISE,
) -> None:
    """Print every figure of two folders of results with the ratio; exit with 1 if one is worse."""
    try:
        found = comparison.changes(before, after)
    except ValueError as error:
        typer.echo(f"avatar bench compare: {error}", err=True)
        raise typer.Exit(2) from None
    console.print(comparison.table(found, noise))
    worse = [one.path for one in found if one.verdict(noise) == "worse"]
    typer.echo(f"{len(worse)} of {len(found)} figures are worse by more than {noise:.0%}.")
    for path in worse:
        typer.echo(f"worse: {path}")
    if worse:
        raise typer.Exit(1)


@app.command("all")
def everything() -> None:
    """Run all that needs no GPU, then write the report."""
    steps: tuple[Callable[[], None], ...] = (
        quality, generator, engines, matmul_peak, latency, interruption, soak, report,
    )  # fmt: skip
    for step in steps:
        step()


if __name__ == "__main__":
    app()
