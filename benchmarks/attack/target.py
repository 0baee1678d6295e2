"""The server under attack: its address, its process, its media ports, and what it wrote."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.running_server import Server

TRACEBACK = "Traceback (most recent call last)"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the server's process holds."""

    memory_mb: float
    threads: int
    files: int
    tasks: int
    sessions: int
    queued: int


class Target:
    """A server in a process of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.address = (re.search(r"//([^:/]+)", server.url) or [""])[1]
        self.port = int(server.url.rsplit(":", 1)[1].strip("/"))
        self.socket_url = f"ws://{self.address}:{self.port}/v1/realtime"

    @property
    def is_alive(self) -> bool:
        return Path(f"/proc/{self.server.pid}").exists()

    def tracebacks(self) -> int:
        return sum(TRACEBACK in line for line in self.server.output)

    def resources(self) -> Resources:
        process = Path(f"/proc/{self.server.pid}")
        return Resources(
            round(self.server.memory_mb(), 1),
            len(list((process / "task").iterdir())),
            len(list((process / "fd").iterdir())),
            int(self.gauge("avatar_tasks")),
            int(self.gauge("avatar_sessions")),
            int(self.gauge("avatar_sessions_queued")),
        )

    def gauge(self, name: str) -> float:
        """A value of /metrics, all labels together."""
        with urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if re.match(rf"{name}(\{{.*\}})? ", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def media_ports(self) -> list[int]:
        """The UDP ports that the process has bound."""
        process = Path(f"/proc/{self.server.pid}")
        inodes = {
            link.removeprefix("socket:[").removesuffix("]")
            for file in (process / "fd").iterdir()
            if (link := _target(file)).startswith("socket:")
        }
        ports = []
        for table in ("udp", "udp6"):
            for line in (process / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    ports.append(int(fields[1].rsplit(":", 1)[1], 16))
        return sorted(ports)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed in the meantime
        return ""


class NeighbourProcess:
    """A healthy session in another process; see `neighbour.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def report(self) -> dict[str, Any]:
        """What it saw since the last report."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()
        found: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return found


@asynccontextmanager
async def neighbour(target: Target) -> AsyncIterator[NeighbourProcess]:
    """A neighbour that gets pictures already."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.attack.neighbour", target.url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    made = NeighbourProcess(process)
    try:
        while (await made.report())["pictures"] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
