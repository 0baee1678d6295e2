"""`avatar serve` as a process, with a model that is loaded at once and breaks on SIGUSR1.

python -m tests.support.faults.flash_process FAULT CHARACTERS [TOML]
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import aioice.ice

from server.cli import serve
from server.config_file import load_config
from tests.support.faults.broken_model import BreakingModel

START_S = 60.0
ROOT = Path(__file__).parents[3]


@dataclass(slots=True)
class ServerProcess:
    """A server that says that it is ready; `output` grows until it ends."""

    process: subprocess.Popen[str]
    port: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, within_s: float) -> int:
        """The status of the process, which must end in that time."""
        return self.process.wait(within_s)


@contextlib.contextmanager
def started(arguments: Sequence[str], *, until: str = "Ready: ") -> Iterator[ServerProcess]:
    """The server that `python ARGUMENTS` runs, once it has printed a line that begins so."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    server = ServerProcess(process)
    reader = Thread(target=lambda: server.lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        give_up_at = time.monotonic() + START_S
        while not (ready := [line for line in server.lines if line.startswith(until)]):
            assert process.poll() is None, server.output
            assert time.monotonic() < give_up_at, server.output
            time.sleep(0.02)
        if "http://" in ready[0]:
            server.port = int(ready[0].strip().rstrip("/").rpartition(":")[2])
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join(START_S)
        process.stdout.close()


def flash_server(root: Path, fault: str = "hangs", toml: Path | None = None):
    """`started` with a model that breaks."""
    module = "tests.support.faults.flash_process"
    return started(["-m", module, fault, str(root), *([str(toml)] if toml else [])])


def main(fault: str, root: str, toml: str | None = None) -> None:
    model = BreakingModel(Path(root), fault)
    signal.signal(signal.SIGUSR1, lambda *_: model.breaks.set())
    aioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]
    serve.RuntimeBackend = lambda _: model
    serve.run(load_config(Path(toml) if toml else None, None, {"listen": {"port": 0}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
