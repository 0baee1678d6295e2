"""Two folders of results compared: ratios, which way is better, and how much is noise."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.compare import DIRECTIONS, Change, better, changes, figures
from benchmarks.record import RESULTS, Result

BEFORE = {"speed": {"ms a step": 100.0, "TFLOP/s": 50.0}, "threads": 2, "device": "cpu"}
AFTER = {"speed": {"ms a step": 120.0, "TFLOP/s": 52.0}, "threads": 1, "device": "cpu"}


def folder(path: Path, values: dict[str, Any]) -> Path:
    Result("c", "m", "g", "d", values).write(path / "model.json")
    return path


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return folder(tmp_path / "before", BEFORE), folder(tmp_path / "after", AFTER)


def verdicts(found: list[Change], noise: float = 0.1) -> dict[str, str]:
    return {one.path: one.verdict(noise) for one in found}


def test_each_figure_is_judged_in_its_own_direction(both: tuple[Path, Path]) -> None:
    assert verdicts(changes(*both)) == {
        "model/speed/ms a step": "worse",
        "model/speed/TFLOP/s": "same",
        "model/threads": "changed",
    }


def test_the_ratio_is_after_over_before(both: tuple[Path, Path]) -> None:
    assert changes(*both)[0].ratio == pytest.approx(1.2)


def test_a_larger_noise_share_forgives_more(both: tuple[Path, Path]) -> None:
    assert verdicts(changes(*both), noise=0.3)["model/speed/ms a step"] == "same"


@pytest.mark.parametrize(
    ("path", "before", "after", "verdict"),
    [
        ("gpu/x/real-time factor", 1.0, 0.8, "better"),
        ("quality/cast, single/jaw_correlation", 0.8, 0.6, "worse"),
        ("quality/cast, single/lag_frames", 0.0, 1.0, "worse"),
        ("quality/cast, single/silent_opening", 0.0, 0.0001, "same"),
        ("gpu/x/allocations in a tick", 0.0, 0.0, "same"),
        ("soak/minutes", 10.0, 1.0, "changed"),
        ("model/unknown", 1.0, 2.0, "changed"),
    ],
)
def test_verdicts(path: str, before: float, after: float, verdict: str) -> None:
    assert Change(path, before, after).verdict() == verdict


def test_a_figure_of_one_folder_only_is_neither_better_nor_worse(tmp_path: Path) -> None:
    old, new = folder(tmp_path / "old", {"a ms": 1}), folder(tmp_path / "new", {"b ms": 1})
    assert verdicts(changes(old, new)) == {"model/a ms": "only before", "model/b ms": "only after"}


def test_every_committed_figure_has_a_known_direction() -> None:
    unknown = [path for path in figures(RESULTS) if not _is_known(path)]
    assert unknown == []


def _is_known(path: str) -> bool:
    import re

    return any(re.search(pattern, path) for pattern, _ in DIRECTIONS)


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("latency/first_sound_ms_p95", "lower"),
        ("latency/fps", "higher"),
        ("generator/interactive/one speaker", "lower"),
        ("engines/denoise, times as fast as torch-eager/onnx/clock", "higher"),
        ("engines/mouth against the true jaw/onnx", "higher"),
        ("gpu/bf16 eager/TFLOP a step", "neither"),
        ("matmul-peak/share of the peak", "higher"),
        ("matmul-peak/float32 peak, GFLOP/s", "neither"),
        ("soak/memory at the end, MB", "lower"),
    ],
)
def test_directions(path: str, way: str) -> None:
    assert better(path) == way


def test_the_command_prints_all_and_fails_if_one_is_worse(both: tuple[Path, Path]) -> None:
    ran = CliRunner().invoke(app, ["compare", *map(str, both)], env={"COLUMNS": "200"})
    assert ran.exit_code == 1
    assert "1 of 3 figures are worse by more than 10%." in ran.output
    assert "worse: model/speed/ms a step" in ran.output


def test_the_command_succeeds_if_nothing_is_worse(both: tuple[Path, Path]) -> None:
    ran = CliRunner().invoke(app, ["compare", *map(str, both), "--noise", "0.5"])
    assert ran.exit_code == 0


def test_a_folder_without_results_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["compare", str(both[0]), str(tmp_path)])
    assert ran.exit_code == 2
    assert "has no results" in ran.output
