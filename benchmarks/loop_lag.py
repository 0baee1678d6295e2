"""How late the server's event loop runs while sessions open and change their settings.

A probe on the loop sleeps for 1 ms again and again and counts what it oversleeps. The clients run
in another process: each opens a session and changes character and seed several times.
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from avatar_client.client import AvatarClient

from server.api.app import create_app
from server.cli.embedded import running
from server.config import Limits, ServerConfig
from server.generation.runtime_backend import RuntimeBackend

SESSIONS = 20
CHARACTERS = ("ana-ben", "mira", "arthur", "maya")
PROBE_S = 0.001


async def probe(lags_ms: list[float]) -> None:
    """Append how many milliseconds late the loop wakes this task, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PROBE_S
        await asyncio.sleep(PROBE_S)
        lags_ms.append(max(0.0, 1000 * (loop.time() - due)))


async def measure() -> list[float]:
    """Lags in milliseconds while SESSIONS clients open sessions and update them."""
    lags_ms: list[float] = []
    config = ServerConfig(limits=Limits(max_sessions=SESSIONS + 1))
    async with running(config, create_app(config, RuntimeBackend(config.model))) as port:
        probing = asyncio.create_task(probe(lags_ms))
        command = (sys.executable, "-m", "benchmarks.loop_lag", f"http://127.0.0.1:{port}")
        clients = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert clients.stdout is not None
        assert await clients.stdout.readline() == b"begin\n"
        lags_ms.clear()  # until here the clients imported modules
        answer, _ = await clients.communicate()
        probing.cancel()
        assert json.loads(answer) == SESSIONS, "some client did not get its updates"
    return lags_ms


async def open_and_update(url: str, number: int) -> None:
    """One client's part."""
    async with await AvatarClient.connect(url) as avatar:
        for name in CHARACTERS:
            await avatar.update(character=name, seed=number)


async def run_clients(url: str) -> None:
    """All clients at once; prints how many there were."""
    print("begin", flush=True)
    await asyncio.gather(*(open_and_update(url, number) for number in range(SESSIONS)))
    print(SESSIONS)


def run() -> dict[str, float]:
    """The lag's percentiles."""
    lags_ms = np.asarray(asyncio.run(measure()))
    p50, p99 = np.percentile(lags_ms, [50, 99])
    return {
        "sessions": SESSIONS,
        "samples": len(lags_ms),
        "lag_ms_p50": round(float(p50), 2),
        "lag_ms_p99": round(float(p99), 2),
        "lag_ms_max": round(float(lags_ms.max()), 2),
    }


if __name__ == "__main__":
    asyncio.run(run_clients(sys.argv[1]))
