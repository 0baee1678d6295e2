"""README's table of measured numbers, written from the kept results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what, the least that we ask, where the figure lies and how it is shown."""

    what: str
    goal: str
    benchmark: str
    keys: tuple[str, ...]
    form: str = "{:.2f}"


def _quality(what: str, goal: str, key: str, group: str = "single", form: str = "{:.2f}") -> Row:
    paths = tuple(f"{who}, {group}/{key}" for who in ("cast", "unseen"))
    return Row(what + " (cast / characters not trained on)", goal, "quality", paths, form)


GPU_PRECISIONS = ("bf16", "fp8", "fp8-attention")

ROWS = (
    Row("CPU time over media time and two cores, server and encoding included, 256x256 at 25 fps",
        "0.8", "latency", ("cpu_share_of_two_cores",)),
    Row("the library alone, compute over media time: one speaker / two", "0.4", "generator",
        ("interactive/one speaker", "interactive/two speakers")),
    Row("the denoiser's default engine / onnx int8, times as fast as the plain modules",
        "1.15 / 1.4", "engines", tuple(
            f"denoise, times as fast as torch-eager/{name}/clock" for name in ("torch", "onnx int8")
        )),
    _quality("mouth opening against the true jaw, held-out voices and texts: correlation", "0.75",
             "jaw_correlation"),
    _quality("its lag, frames", "1", "lag_frames", form="{:.0f}"),
    _quality("mean mouth opening while speaking, share of the true jaw's", "-", "opening_share"),
    _quality("change of the mouth's box from rest against the true drawing's: correlation", "-",
             "change_correlation"),
    _quality("its size, share of the true drawing's", "-", "change_share"),
    _quality("mouth opening in silence, share of that while speaking", "5 %", "silent_opening",
             form="{:.1%}"),
    _quality("error in shut eyes against the drawing, share of what open eyes would leave", "-",
             "shut_eye_error"),
    _quality("PSNR outside mouth and eyes against the picture, dB", "26", "identity_psnr_db",
             form="{:.1f}"),
    _quality("mouth movement of a silent neighbour over that of the speaker", "0.1",
             "silent_neighbour", "pairs"),
    Row("first moving picture after the first speech, warm, ms: p50 / p95", "1000 (p50)",
        "latency", ("first_move_ms_p50", "first_move_ms_p95"), "{:.0f}"),
    Row("interruption to the last open mouth, ms: p50 / p95", "300 (p95)", "interruption",
        ("last_move_ms_p50", "last_move_ms_p95"), "{:.0f}"),
    Row("one long session, minutes; lag in its last 20 s, frames; correlation there", "no drift",
        "soak", ("minutes", "last 20 s: lag in frames", "last 20 s: correlation"), "{:.2g}"),
    Row("its memory after a tenth and at the end, MB", "flat", "soak",
        ("memory after a tenth, MB", "memory at the end, MB"), "{:.0f}"),
    Row("share of the measured float32 matrix-product peak that a denoiser call reaches, CPU",
        "50 %", "matmul-peak", ("share of the peak",), "{:.0%}"),
    Row("13 B, random weights, 512x512, 9 latent frames, 4 steps: real-time factor where all 9 are "
        "new, bf16 / FP8 / FP8 with attention", "1.3 / 0.9", "gpu", tuple(
            f"{one} fused/real-time factor by preset/fusion-512" for one in GPU_PRECISIONS)),
    Row("the same where 7 of them are new", "-", "gpu", tuple(
        f"{one} fused/real-time factor by preset/live-512" for one in GPU_PRECISIONS)),
    Row("its share of the measured peak of matrix products, bf16 / FP8 / FP8 with attention",
        "60 % / 45 %", "gpu", tuple(f"{one} fused/share of the peak" for one in GPU_PRECISIONS),
        "{:.0%}"),
    Row("its speed against eager bf16, bf16 / FP8 / FP8 with attention", "1.8 / 2.5", "gpu", tuple(
        f"{one} fused/times faster than eager bf16" for one in GPU_PRECISIONS)),
    Row("its GPU memory in FP8, GB", "20", "gpu", ("fp8 fused/peak memory, GB",), "{:.0f}"),
    Row("a whole stream of it in FP8, 7 of 9 new, sound to I420 on the host: real-time factor",
        "-", "gpu", ("stream fp8/real-time factor",)),
    Row("its waits for the GPU in a steady tick / allocations", "1 / 0", "gpu",
        ("stream fp8/waits in a tick", "stream fp8/allocations in a tick"), "{:.0f}"),
)  # fmt: skip


def figure(values: dict[str, Any], path: str) -> float | None:
    """The value at a path such as "cast, single/lag_frames"."""
    found: Any = values
    for key in path.split("/"):
        found = found.get(key) if isinstance(found, dict) else None
    return None if found is None else float(found)


def table(results: Path) -> str:
    """The table; what was not measured is said to be so."""
    lines = ["| what | goal | measured | command |", "|---|---|---|---|"]
    machines = set()
    for row in ROWS:
        file = results / f"{row.benchmark}.json"
        shown = "not measured"
        if file.exists():
            result = json.loads(file.read_text())
            machines.add(result["machine"])
            found = [figure(result["values"], key) for key in row.keys]
            parts = ["not seen" if value is None else row.form.format(value) for value in found]
            shown = " / ".join(parts)
        command = f"`python -m benchmarks {row.benchmark}`"
        lines.append(f"| {row.what} | {row.goal} | {shown} | {command} |")
    where = "; ".join(sorted(machines)) or "no machine yet"
    return "\n".join([f"Measured on: {where}.", "", *lines])


def write(results: Path, readme: Path) -> None:
    """Put the table between README's markers. ValueError where they are missing."""
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} has no {BEGIN} .. {END}: put the markers where the table goes")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")
