"""docs/benchmarks.md and README's short table, written from the kept results.

Nobody edits either by hand: `python -m benchmarks report` writes both, and with `--check` it only
says whether they are up to date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.record import Result

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
NOT_MEASURED = "not measured"
FULL_REPORT = "docs/benchmarks.md"

INTRODUCTION = """\
# Benchmarks

`python -m benchmarks report` writes this page from the files in `benchmarks/results`: change those,
not this page. A row names the command that measures it again, the machine, and the commit that was
measured. `python -m benchmarks compare BEFORE AFTER` compares two folders of results.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its figures' paths in one benchmark's result, and how to print them."""

    what: str
    goal: str
    benchmark: str
    keys: tuple[str, ...]
    form: str = "{:.2f}"

    def measured(self, result: Result | None) -> str:
        """The figures, " / " between them."""
        if result is None:
            return NOT_MEASURED
        found = [result.figure(key) for key in self.keys]
        return " / ".join(NOT_MEASURED if v is None else self.form.format(v) for v in found)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the page, a sentence below it, and its rows."""

    title: str
    text: str
    rows: tuple[Row, ...]


def _quality(what: str, goal: str, key: str, group: str = "single", form: str = "{:.2f}") -> Row:
    """A figure of the cast, and of characters that the model was not trained on."""
    paths = tuple(f"{people}, {group}/{key}" for people in ("cast", "unseen"))
    return Row(what, goal, "quality", paths, form)


def _gpu(what: str, goal: str, key: str, form: str = "{:.2f}") -> Row:
    """A figure of the fused engine in bf16, in FP8, and in FP8 with attention in FP8 as well."""
    precisions = ("bf16", "fp8", "fp8-attention")
    return Row(what, goal, "gpu", tuple(f"{one} fused/{key}" for one in precisions), form)


LATENCY = (
    Row("first sound after the first speech was sent, ms: p50 / p95", "-", "latency",
        ("first_sound_ms_p50", "first_sound_ms_p95"), "{:.0f}"),
    Row("first moving picture after the first speech was sent, ms: p50 / p95", "1000 (p50)",
        "latency", ("first_move_ms_p50", "first_move_ms_p95"), "{:.0f}"),
    Row("interruption to the last open mouth, ms: p50 / p95", "300 (p95)", "interruption",
        ("last_move_ms_p50", "last_move_ms_p95"), "{:.0f}"),
)  # fmt: skip

CPU_FACTOR = Row(
    "compute time over media time on the CPU, library alone: one speaker / two", "0.4",
    "generator", ("interactive/one speaker", "interactive/two speakers"),
)  # fmt: skip
MEMORY = Row("memory after a tenth of the session / at its end, MB", "flat", "soak",
             ("memory after a tenth, MB", "memory at the end, MB"), "{:.0f}")  # fmt: skip

UNDER_ATTACK = Row(
    "a healthy session while its server is attacked in each known way: pictures a second at worst "
    "/ longest gap, ms", "25 / 200", "attacks",
    ("worst/pictures a second", "worst/longest gap, ms"), "{:.0f}",
)  # fmt: skip

SECTIONS = (
    Section(
        "A warm server, built-in model",
        "256x256 at 25 fps, preset interactive, a client over loopback.",
        (
            *LATENCY,
            Row("CPU time over media time and two cores, server and encoding included", "0.8",
                "latency", ("cpu_share_of_two_cores",)),
            CPU_FACTOR,
        ),
    ),
    Section(
        "The server's code at run time, built-in model",
        "20 sessions open and change character; one audio chunk goes from socket to tracks.",
        (
            Row("lag of the event loop while sessions open and update, ms: p50 / p99", "5 (p99)",
                "loop-lag", ("lag_ms_p50", "lag_ms_p99"), "{:.1f}"),
            Row("files that an audio chunk passes / moves between files", "25 / 80", "audio-path",
                ("files", "moves"), "{:.0f}"),
        ),
    ),
    Section(
        "A server under attack",
        "Attackers and a healthy session beside a server with the built-in model, all on the same "
        "two cores; the attackers' own load counts.",
        (
            UNDER_ATTACK,
            Row("hostile messages / tracebacks / memory grown, MB", "1000000 / 0 / 20",
                "hostile-messages", ("done", "tracebacks", "memory grown, MB"), "{:.0f}"),
            Row("the healthy session meanwhile: pictures a second / longest gap, ms", "25 / 200",
                "hostile-messages", ("pictures a second", "longest gap, ms"), "{:.0f}"),
            Row("sessions that come and go in five ways / memory grown, MB", "1000 / 20",
                "connection-cycles", ("sessions", "grown/memory_mb"), "{:.0f}"),
            Row("threads / files / tasks / places grown by them", "0",
                "connection-cycles", tuple(f"grown/{one}" for one in
                                           ("threads", "files", "tasks", "sessions")), "{:.0f}"),
            Row("Autobahn's WebSocket cases / requests from our OpenAPI / server errors",
                "- / - / 0", "conformance",
                ("WebSocket/cases", "HTTP/requests", "HTTP/server errors"), "{:.0f}"),
        ),
    ),
    Section(
        "One long session, built-in model",
        "The library alone; the first 20 s are compared with the last 20 s.",
        (
            Row("minutes / lag in the last 20 s, frames / correlation there", "no drift", "soak",
                ("minutes", "last 20 s: lag in frames", "last 20 s: correlation"), "{:.2g}"),
            MEMORY,
            Row("a server and one session, real clock, minutes / memory at the start, MB / at the "
                "end", "flat", "server-soak",
                ("minutes", "memory at the start, MB", "memory at the end, MB"), "{:.0f}"),
        ),
    ),
    Section(
        "Lip sync and picture, built-in model",
        "Held-out voices and texts, measured from the generated pixels: the cast / characters "
        "that the model was not trained on.",
        (
            _quality("mouth opening against the true jaw: correlation", "0.75", "jaw_correlation"),
            _quality("lag of the mouth, frames", "1", "lag_frames", form="{:.0f}"),
            _quality("mean mouth opening while speaking, share of the true jaw's", "-",
                     "opening_share"),
            _quality("change of the mouth's box from rest against the true drawing: correlation",
                     "-", "change_correlation"),
            _quality("size of that change, share of the true drawing's", "-", "change_share"),
            _quality("mouth opening in silence, share of that while speaking", "5 %",
                     "silent_opening", form="{:.1%}"),
            _quality("error in shut eyes against the drawing, share of what open eyes would leave",
                     "-", "shut_eye_error"),
            _quality("PSNR outside mouth and eyes against the reference image, dB", "26",
                     "identity_psnr_db", form="{:.1f}"),
            _quality("mouth movement of a silent neighbour over that of the speaker", "0.1",
                     "silent_neighbour", "pairs"),
        ),
    ),
    Section(
        "Engines on the CPU",
        "The built-in transformer; all engines take turns in one run.",
        (
            Row("default engine / onnx int8, times as fast as the plain modules", "1.15 / 1.4",
                "engines", tuple(f"denoise, times as fast as torch-eager/{name}/clock"
                                 for name in ("torch", "onnx int8"))),
            Row("correlation of the mouth with the true jaw: plain modules / default / onnx / int8",
                "-", "engines", tuple(f"mouth against the true jaw/{name}" for name in
                                      ("torch-eager", "torch", "onnx", "onnx int8"))),
            Row("share of the measured float32 matrix-product peak that a denoiser call reaches",
                "50 %", "matmul-peak", ("share of the peak",), "{:.0%}"),
        ),
    ),
    Section(
        "The 13 B model on one GPU",
        "Random weights, 512x512, 9 latent frames, 4 steps, fused engine: bf16 / FP8 / FP8 with "
        "attention in FP8.",
        (
            _gpu("real-time factor if all 9 latent frames are new", "1.3 / 0.9",
                 "real-time factor by preset/fusion-512"),
            _gpu("real-time factor if 7 of them are new", "-",
                 "real-time factor by preset/live-512"),
            _gpu("share of the measured peak of matrix products", "60 % / 45 %",
                 "share of the peak", "{:.0%}"),
            _gpu("times faster than eager bf16", "1.8 / 2.5", "times faster than eager bf16"),
            _gpu("GPU memory, GB", "20 (FP8)", "peak memory, GB", "{:.0f}"),
            Row("a whole stream, 7 of 9 new, sound to I420 on the host: real-time factor", "-",
                "gpu", tuple(f"stream {one}/real-time factor"
                             for one in ("bf16", "fp8", "fp8-attention"))),
            Row("waits for the GPU in a steady tick / allocations, FP8", "1 / 0", "gpu",
                ("stream fp8/waits in a tick", "stream fp8/allocations in a tick"), "{:.0f}"),
        ),
    ),
)  # fmt: skip

SHORT = (
    *LATENCY,
    CPU_FACTOR,
    UNDER_ATTACK,
    Row("real-time factor of a 13 B stream on an H200, random weights, 512x512, 4 steps: FP8 / "
        "with attention in FP8", "-", "gpu",
        ("stream fp8/real-time factor", "stream fp8-attention/real-time factor")),
    replace(MEMORY, what="memory of the library: after a tenth of a long session / at its end, MB"),
)  # fmt: skip
"""README's seven rows."""


def page(results: Path) -> str:
    """The whole of docs/benchmarks.md."""
    parts = [INTRODUCTION]
    for section in SECTIONS:
        parts += [f"## {section.title}", section.text, _full_table(section.rows, results)]
        parts += _notes(section.rows, results)
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _notes(rows: Sequence[Row], results: Path) -> list[str]:
    """What the results themselves say about their figures, as one list; none without notes."""
    found = [read(results, name) for name in dict.fromkeys(row.benchmark for row in rows)]
    notes = [note for one in found if one is not None for note in one.values.get("notes", ())]
    return ["\n".join(f"- {note}" for note in notes)] if notes else []


def _full_table(rows: Sequence[Row], results: Path) -> str:
    lines = [
        "| what | goal | measured | command | machine | commit | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        result = read(results, row.benchmark)
        command, origin = f"python -m benchmarks {row.benchmark}", " - | - | - "
        if result is not None:
            command = result.command
            origin = f" {result.machine} | {result.commit} | {result.day} "
        lines.append(f"| {row.what} | {row.goal} | {row.measured(result)} | `{command}` |{origin}|")
    return "\n".join(lines)


def short_table(results: Path) -> str:
    """README's table."""
    lines = ["| what | measured | machine | commit |", "|---|---|---|---|"]
    for row in SHORT:
        result = read(results, row.benchmark)
        machine, commit = ("-", "-") if result is None else (result.machine, result.commit)
        lines.append(f"| {row.what} | {row.measured(result)} | {machine} | {commit} |")
    rest = f"All figures, with their goals and commands: [{FULL_REPORT}]({FULL_REPORT})."
    return "\n".join([*lines, "", rest])


def read(results: Path, benchmark: str) -> Result | None:
    """The benchmark's result; None if it was not measured."""
    file = results / f"{benchmark}.json"
    return Result.read(file) if file.exists() else None


def texts(results: Path, root: Path) -> dict[Path, str]:
    """Both files as they should be. ValueError if README lacks the marks for its table."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} needs {BEGIN} and {END} once each, where the table goes.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return {
        root / FULL_REPORT: page(results),
        readme: f"{before}{BEGIN}\n{short_table(results)}\n{END}{after}",
    }


def write(results: Path, root: Path) -> None:
    """Bring both files up to date. Raises as `texts`."""
    for file, text in texts(results, root).items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


def stale(results: Path, root: Path) -> list[Path]:
    """The files that `write` would change. Raises as `texts`."""
    return [
        file
        for file, text in texts(results, root).items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
