"""All that needs a GPU, in one command with a time limit: `make gpu-check`.

    tests            every test marked `gpu` or `kernels`: how many passed, and which did not
    bf16 eager ..    model_speed.py for each precision and engine
    stream ..        random_stream.py: real ticks, their waits and allocations
    tensorrt ..      block_engines.py for each library that is installed

A part that fails, or has no time left, reports the reason, and the others run. The results are
written after each part, so an abort loses one part at most.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.random_weights import block_engines, model_speed, random_stream
from benchmarks.random_weights.model_speed import LATENT_PX, PEAK, SIZES
from benchmarks.random_weights.model_speed import PRESETS as LIVE_PRESETS
from runtime.engine.kinds import weight_precision
from runtime.engine.parts import WindowShape
from runtime.errors import AvatarError
from runtime.models.dit.config import DiTConfig

BUDGET_S = 460.0  # of the 8 minutes; the rest is for imports and the last report
TEST_LIMIT_S = 130.0
REPOSITORY = Path(__file__).parents[2]

Values = dict[str, Any]
Part = Callable[[float], Values]
"""Measures something; its argument is how many seconds are left."""
Keep = Callable[[Values], None]

NEEDED_S = {
    "tests": 60.0,
    "eager": 25.0,
    "fused": 25.0,
    "compiled": 45.0,
    "stream": 40.0,
    "library": 45.0,
}
"""Seconds that a part of that kind needs: with less left it does not start."""


@dataclass(frozen=True, slots=True)
class Check:
    """What to check: a model, a preset, a device, and the backend of torch.compile."""

    device: torch.device
    size: str = "13b"
    preset: str = "live-512"
    runs: int = 10
    backend: str = "inductor"
    calls: tuple[tuple[str, str], ...] = (  # precision and engine, most wanted first
        ("bf16", "eager"),
        ("bf16", "fused"),
        ("fp8", "fused"),
        ("fp8-attention", "fused"),
        ("bf16", "compiled"),
        ("fp8", "compiled"),
    )
    streams: tuple[tuple[str, str], ...] = (
        ("fp8", "fused"),
        ("fp8-attention", "fused"),
        ("bf16", "fused"),
    )
    built: tuple[str, ...] = ("bf16", "fp8")  # precisions of the libraries' engines
    libraries: tuple[str, ...] = ("tensorrt", "tensorrt-rtx")
    tests: tuple[str, ...] = ("-m", "gpu or kernels")  # pytest's arguments
    seconds: Mapping[str, float] = field(default_factory=lambda: NEEDED_S)

    @property
    def config(self) -> DiTConfig:
        return SIZES[self.size]


def on_a_cpu(check: Check) -> Check:
    """The same check for a CPU: float32, no generated kernels, a test that needs no GPU."""
    return replace(
        check,
        backend="eager",
        calls=tuple((one, engine) for one in ("fp32", "fp8") for engine in ("eager", "compiled")),
        streams=(("fp8", "eager"), ("fp32", "eager")),
        tests=("tests/benchmarks/random_weights/test_gpu_check.py", "-k", "outcomes_of_tests"),
        seconds=dict.fromkeys(NEEDED_S, 0.0),
    )


def run(check: Check, keep: Keep, budget_s: float = BUDGET_S) -> Values:
    """Runs the parts in order of importance; after each, `keep` gets all results so far."""
    end = time.monotonic() + budget_s
    found: Values = {"device": str(check.device), "budget, s": budget_s}
    for name, kind, part in parts(check):
        left = end - time.monotonic()
        found[name] = outcome(part, left, check.seconds[kind])
        compare_with_eager(found)
        compare_with_peak(found)
        keep(found)
        torch.compiler.reset()
        gc.collect()  # frees the last model: compiled blocks refer to themselves
        if check.device.type == "cuda":
            torch.cuda.empty_cache()  # the next one is as large
    found["seconds"] = budget_s - (end - time.monotonic())
    keep(found)
    return found


def parts(check: Check) -> list[tuple[str, str, Part]]:
    """Name, kind and work of each part, most important first."""
    models = [
        (f"{one} {engine}", engine, model_part(check, one, engine)) for one, engine in check.calls
    ]
    streams = [
        (f"stream {one}", "stream", stream_part(check, one, engine))
        for one, engine in check.streams
    ]
    libraries = [
        (f"{library} {one}", "library", library_part(check, library, one))
        for library in check.libraries
        for one in check.built
    ]

    def tests(left_s: float) -> Values:
        return gpu_tests(check.tests, min(left_s, TEST_LIMIT_S))

    return [*models, streams[0], ("tests", "tests", tests), *streams[1:], *libraries]


def outcome(part: Part, left_s: float, needed_s: float) -> Values:
    """A part's results, or the reason why it has none."""
    if left_s < needed_s:
        return {"not run": f"{left_s:.0f} s were left, {needed_s:.0f} s are needed"}
    start = time.monotonic()
    try:
        values = part(left_s)
    except (AvatarError, RuntimeError, OSError) as error:  # out of memory is a RuntimeError
        values = {"failed": f"{type(error).__name__}: {error}"[:500]}
    return {**values, "took, s": time.monotonic() - start}


def compare_with_eager(found: Values) -> None:
    """Adds how much faster each engine is than eager bf16 in the same run."""
    steps = {
        name: values["ms a step"]
        for name, values in found.items()
        if isinstance(values, dict) and "ms a step" in values
    }
    if "bf16 eager" in steps:
        for name, ms in steps.items():
            found[name]["times faster than eager bf16"] = steps["bf16 eager"] / ms


def compare_with_peak(found: Values) -> None:
    """Adds the share of the peak that each engine reaches: of the largest peak of the run.

    A peak is measured after a model has run, and the card gets warmer each time.
    """
    calls = [values for values in found.values() if isinstance(values, dict) and PEAK in values]
    peaks: dict[str, float] = {}
    for values in calls:
        weights = weight_precision(values["precision"])
        peaks[weights] = max(peaks.get(weights, 0.0), values[PEAK])
    for values in calls:
        values["share of the peak"] = (
            values["TFLOP/s"] / peaks[weight_precision(values["precision"])]
        )


def model_part(check: Check, precision: str, engine: str) -> Part:
    def work(left_s: float) -> Values:
        return model_speed.run(
            check.size, check.preset, precision, engine, check.device, check.runs, check.backend
        )

    return work


def stream_part(check: Check, precision: str, engine: str) -> Part:
    live = LIVE_PRESETS[check.preset]

    def work(left_s: float) -> Values:
        size = (live.width_px, live.height_px)
        return random_stream.run(
            check.config, live.schedule, size, precision, engine, check.device, check.runs
        )

    return work


def library_part(check: Check, library: str, precision: str) -> Part:
    live = LIVE_PRESETS[check.preset]
    shape = WindowShape(
        live.schedule.window,
        1,
        live.height_px // LATENT_PX,
        live.width_px // LATENT_PX,
        random_stream.TEXT_TOKENS,
    )
    return lambda left_s: block_engines.run(library, check.config, shape, precision, check.runs)


def gpu_tests(arguments: tuple[str, ...], limit_s: float) -> Values:
    """Runs the tests by pytest in a separate process, which ends after `limit_s` at the latest."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "--continue-on-collection-errors", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        try:
            subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {"failed": f"The tests took longer than {limit_s:.0f} s."}
        if not report.exists():
            return {"failed": "pytest wrote no report. Run `pytest -m gpu` to see why."}
        return counted(ET.parse(report).getroot())


def counted(report: ET.Element) -> Values:
    """How many tests passed and were skipped, which failed, and which modules have no result.

    pytest reports a module that it cannot import as a test case without a class. Its tests did not
    run, so they are neither passed nor failed.
    """
    cases = list(report.iter("testcase"))
    unread = [one for one in cases if one.find("error") is not None and not one.get("classname")]
    failed = [
        one
        for one in cases
        if one not in unread and (one.find("failure") is not None or one.find("error") is not None)
    ]
    skipped = [one for one in cases if one.find("skipped") is not None]
    return {
        "passed": len(cases) - len(unread) - len(failed) - len(skipped),
        "failed tests": [f"{one.get('classname')}.{one.get('name')}" for one in failed],
        "skipped": len(skipped),
        "modules not imported": [str(one.get("name")) for one in unread],
    }
