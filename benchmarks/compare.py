"""Two folders of results side by side: what became better or worse between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from benchmarks.record import Result, flatten

Better = Literal["lower", "higher", "neither"]
Verdict = Literal["same", "better", "worse", "changed", "only before", "only after"]

NOISE = 0.1  # share by which a figure may differ from one run to the next
NOISE_AT_ZERO = 0.01  # the same for a figure that was 0, in its own unit

DIRECTIONS: tuple[tuple[str, Better], ...] = (
    # Settings of a run, and how long the benchmark itself took.
    (r"threads|minutes|tokens|budget|took, s|^[^/]*/seconds$|TFLOP a step|GFLOP$", "neither"),
    (r"sessions$|samples$|done$|cases$|requests$|utterances$", "neither"),
    (r"matrix product peak|float32 peak", "neither"),  # of the machine
    (r"skipped|opening_share|change_share", "neither"),  # shares of the truth: 1 is right
    (r"correlation|true jaw|psnr|FLOP/s|share of the peak|times (as fast|faster)", "higher"),
    (r"/fps$|passed|pictures a second", "higher"),
    (r"_ms_|\bms\b|real-time factor|compute over media time|(one|two) speakers?", "lower"),
    (r"memory|GB$|devices for|waits|allocations|cores_used|cpu_share", "lower"),
    (r"grown|kept|tracebacks|failed|cut short|server errors", "lower"),
    (r"files$|moves$|lag|silent_|error|relative L2|held_share|still_share", "lower"),
)
"""Which way a figure gets better, by a pattern of its path; the first pattern that fits counts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, FILE/key/.., in both folders; None if a folder does not have it."""

    path: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """After over before; None if that is no number."""
        if self.before is None or self.after is None or self.before == 0:
            return None
        return self.after / self.before

    def verdict(self, noise: float = NOISE) -> Verdict:
        """Better or worse, if the change is more than `noise` of the figure before."""
        if self.before is None:
            return "only after"
        if self.after is None:
            return "only before"
        rise = self.after - self.before
        allowed = noise * abs(self.before) if self.before else NOISE_AT_ZERO
        if abs(rise) <= allowed:
            return "same"
        way = better(self.path)
        if way == "neither":
            return "changed"
        return "better" if (rise > 0) == (way == "higher") else "worse"


def better(path: str) -> Better:
    """Which way the figure at a path gets better; "neither" if no pattern knows it."""
    return next((way for pattern, way in DIRECTIONS if re.search(pattern, path)), "neither")


def changes(before: Path, after: Path) -> list[Change]:
    """Every figure of both folders of results, in order. ValueError if a folder has none."""
    old, new = figures(before), figures(after)
    return [Change(path, old.get(path), new.get(path)) for path in dict.fromkeys((*old, *new))]


def figures(folder: Path) -> dict[str, float]:
    """The numbers in a folder's results, by FILE/key/..; texts, lists and None are left out."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError(f"{folder} has no results (*.json). Name a folder that benchmarks filled.")
    return {path: value for file in files for path, value in _numbers(file)}


def _numbers(file: Path) -> Iterator[tuple[str, float]]:
    for path, value in flatten(Result.read(file).values, f"{file.stem}/", "/").items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield path, float(value)


def table(found: list[Change], noise: float) -> Table:
    """All figures: before, after, ratio and verdict."""
    shown = Table("figure", "before", "after", "ratio", "verdict")
    for one in found:
        verdict = one.verdict(noise)
        values = (one.before, one.after, one.ratio)
        style = {"worse": "red", "better": "green"}.get(verdict)
        shown.add_row(one.path, *map(_shown, values), verdict, style=style)
    return shown


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
