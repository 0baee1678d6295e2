"""`make gpu-check`, tried on a CPU: every part runs, fails with a reason or finds no time."""

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest
import torch

from benchmarks.random_weights.gpu_check import (
    Check,
    compare_with_eager,
    compare_with_peak,
    counted,
    on_a_cpu,
    outcome,
    run,
)
from benchmarks.random_weights.model_speed import PEAK
from runtime.errors import Unsupported

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="passes"/>
<testcase classname="tests.a" name="fails"><failure message="no"/></testcase>
<testcase classname="tests.b" name="breaks"><error message="no"/></testcase>
<testcase classname="tests.b" name="waits"><skipped message="no GPU"/></testcase>
<testcase classname="" name="tests.c"><error message="collection failure"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def tried() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The results of a trial on the CPU, and all that were written on the way."""
    kept: list[dict[str, Any]] = []
    check = on_a_cpu(Check(torch.device("cpu"), "tiny", "smoke", runs=1))
    found = run(check, lambda values: kept.append(json.loads(json.dumps(values))), budget_s=1e6)
    return found, kept


Tried = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "fp8"])
def test_the_models_calls_are_measured(tried: Tried, precision: str, engine: str) -> None:
    values = tried[0][f"{precision} {engine}"]
    assert "failed" not in values, values
    assert values["real-time factor"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp8"])
def test_a_whole_stream_is_measured(tried: Tried, precision: str) -> None:
    values = tried[0][f"stream {precision}"]
    assert "failed" not in values, values
    assert values["tick, ms: p50"] > 0


@pytest.mark.slow
def test_the_tests_are_counted(tried: Tried) -> None:
    assert tried[0]["tests"]["passed"] == 1


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_part_that_cannot_run_says_why_and_the_others_run(tried: Tried) -> None:
    for library in ("tensorrt", "tensorrt-rtx"):
        assert tried[0][f"{library} fp8"]["failed"].startswith("Unsupported: ")


@pytest.mark.slow
def test_all_results_are_written_after_each_part(tried: Tried) -> None:
    found, kept = tried
    parts = [name for name, values in found.items() if isinstance(values, dict)]
    assert len(kept) == len(parts) + 1
    assert [len(one) for one in kept[:3]] == [3, 4, 5]
    assert kept[-1] == json.loads(json.dumps(found))


def test_a_part_without_time_left_does_not_start() -> None:
    def must_not_run(left_s: float) -> dict[str, Any]:
        raise AssertionError("there was no time")

    assert outcome(must_not_run, 10, 60) == {"not run": "10 s were left, 60 s are needed"}


def test_a_part_that_fails_says_why() -> None:
    def fails(left_s: float) -> dict[str, Any]:
        raise Unsupported("No such card.")

    assert outcome(fails, 10, 0)["failed"] == "Unsupported: No such card."


def test_engines_are_compared_with_eager_bf16_of_the_same_run() -> None:
    found = {"budget, s": 1.0, "bf16 eager": {"ms a step": 90.0}, "fp8 x": {"ms a step": 30.0}}
    compare_with_eager(found)
    assert found["fp8 x"] == {"ms a step": 30.0, "times faster than eager bf16": 3.0}


def test_a_share_is_of_the_largest_peak_of_the_run() -> None:
    found: dict[str, Any] = {
        "bf16 eager": {"precision": "bf16", "TFLOP/s": 400.0, PEAK: 800.0},
        "bf16 fused": {"precision": "bf16", "TFLOP/s": 600.0, PEAK: 700.0},
        "fp8 fused": {"precision": "fp8", "TFLOP/s": 700.0, PEAK: 1000.0},
        "fp8-attention fused": {"precision": "fp8-attention", "TFLOP/s": 700.0, PEAK: 1400.0},
        "tests": {"passed": 1},
    }
    compare_with_peak(found)
    shares = [values.get("share of the peak") for values in found.values()]
    assert shares == [0.5, 0.75, 0.5, 0.5, None]


def test_outcomes_of_tests_are_counted() -> None:
    assert counted(ET.fromstring(REPORT)) == {
        "passed": 1,
        "failed tests": ["tests.a.fails", "tests.b.breaks"],
        "skipped": 1,
        "modules not imported": ["tests.c"],
    }
