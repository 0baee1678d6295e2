"""A running server under a real client: latencies, interruption, load.

`avatar serve` runs as a separate process, and the client talks to it over loopback, as a user
would. The client takes all times; the server's CPU time is read from the system.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import numpy as np

from client_demo.measure.report import TalkReport
from client_demo.measure.talk import TalkPlan, talk

HELLO = Path(__file__).parent.parent / "client_demo" / "samples" / "hello.wav"
START_TIMEOUT_S = 180.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Server:
    """A running `avatar serve`."""

    url: str
    pid: int
    output: list[str] = field(default_factory=list)
    """The lines that it wrote so far."""

    def cpu_s(self) -> float:
        """CPU seconds that the server has used, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def slices(self, kind: str) -> float:
        """How many slices of a kind, new or held, it has sent."""
        with urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        name = f'avatar_slices_total{{kind="{kind}"}} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def memory_mb(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


@contextmanager
def running_server(*flags: str) -> Iterator[Server]:
    """A warm server on a free port, stopped afterwards. RuntimeError with its output if it ends."""
    command = [sys.executable, "-m", "server.cli.avatar", "serve", "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output: list[str] = []
        yield Server(_address(process, output), process.pid, output)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _address(process: subprocess.Popen[str], output: list[str]) -> str:
    assert process.stdout is not None
    watchdog = threading.Timer(START_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            output.append(line)
            if found := re.search(r"http://[\w.:\[\]]+", line):
                threading.Thread(target=output.extend, args=(process.stdout,), daemon=True).start()
                return found.group()
    finally:
        watchdog.cancel()
    raise RuntimeError(f"The server ended before it was ready: {''.join(output)}")


def talks(server: Server, count: int, interrupt_after_s: float | None = None) -> list[TalkReport]:
    """`count` talks, one after the other."""
    reports = []
    with TemporaryDirectory() as folder:
        for _ in range(count):
            one = TalkPlan(
                url=server.url,
                lines=((None, HELLO),),
                out=Path(folder) / "talk.mp4",
                interrupt_after_s=interrupt_after_s,
            )
            reports.append(asyncio.run(talk(one)))
    return reports


def percentile(values: list[int | None], share: float) -> float | None:
    """The percentile of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return float(np.percentile(known, share)) if known else None


def latency(server: Server, count: int) -> dict[str, float | None]:
    """First moving picture, first sound, evenness, and CPU while one speaker talks.

    A held slice repeats a frame because the next one is late; a still one shows no movement, for
    example because the character rests.
    """
    cpu, wall = server.cpu_s(), time.monotonic()
    reports = talks(server, count)
    cpu, wall = server.cpu_s() - cpu, time.monotonic() - wall
    speakers = [report.speakers[0] for report in reports]
    held, new = server.slices("held"), server.slices("new")
    return {
        "first_move_ms_p50": percentile([s.first_move_ms for s in speakers], 50),
        "first_move_ms_p95": percentile([s.first_move_ms for s in speakers], 95),
        "first_sound_ms_p50": percentile([s.first_sound_ms for s in speakers], 50),
        "first_sound_ms_p95": percentile([s.first_sound_ms for s in speakers], 95),
        "first_picture_ms_p50": percentile([r.first_frame_ms for r in reports], 50),
        "fps": median(r.flow.fps for r in reports),
        "held_share": held / max(1.0, held + new),
        "still_share": sum(r.flow.still for r in reports)
        / max(1, sum(r.flow.frames for r in reports)),
        "cores_used": cpu / wall,
        "cpu_share_of_two_cores": cpu / wall / 2,
    }


def interruption(server: Server, count: int) -> dict[str, float | None]:
    """From the interruption to the last open mouth and the last sound."""
    cuts = [r.interruption for r in talks(server, count, interrupt_after_s=2.0)]
    found = [cut for cut in cuts if cut is not None]
    return {
        "last_move_ms_p50": percentile([c.last_move_ms for c in found], 50),
        "last_move_ms_p95": percentile([c.last_move_ms for c in found], 95),
        "last_sound_ms_p95": percentile([c.last_sound_ms for c in found], 95),
    }
