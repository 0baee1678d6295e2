"""One server and one session for a long time, on the real clock: does anything grow or slip?"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from benchmarks.attack.run import attacked
from benchmarks.attack.target import NeighbourProcess, Target

PART_S = 60.0
STOPPED_S = 5.0
SETTLING_PARTS = 2
"""The first session's memory is no growth."""


async def _part(target: Target, beside: NeighbourProcess, seconds: float) -> dict[str, Any]:
    await beside.report()
    await asyncio.sleep(seconds)
    return await beside.report() | {"memory_mb": target.server.memory_mb()}


async def _stopped(target: Target, beside: NeighbourProcess) -> dict[str, Any]:
    """A minute in which the whole server stood still for a few seconds."""
    os.kill(target.server.pid, signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    os.kill(target.server.pid, signal.SIGCONT)
    await asyncio.sleep(STOPPED_S)
    return await _part(target, beside, PART_S)


async def measure(minutes: float) -> dict[str, Any]:
    """What the session saw in each minute, and what the server held at the start and the end."""
    async with attacked() as (target, beside):
        for _ in range(SETTLING_PARTS):
            await _part(target, beside, PART_S)
        before = target.resources()
        parts = [await _part(target, beside, PART_S) for _ in range(max(1, round(minutes)))]
        after = target.resources()
        resumed = await _stopped(target, beside)
        return {
            "minutes": len(parts),
            "utterances": sum(one["utterances"] for one in parts),
            "cut short or errors": sum(one["cut_short"] + one["errors"] for one in parts),
            "pictures a second, worst minute": min(one["pictures_per_s"] for one in parts),
            "longest gap, ms": max(one["longest_gap_ms"] for one in parts),
            "memory at the start, MB": before.memory_mb,
            "memory at the end, MB": after.memory_mb,
            "threads grown": after.threads - before.threads,
            "files grown": after.files - before.files,
            "tasks grown": after.tasks - before.tasks,
            "pictures a second after a stop of 5 s": resumed["pictures_per_s"],
            "tracebacks": target.tracebacks(),
        }


def run(minutes: float) -> dict[str, Any]:
    return asyncio.run(measure(minutes))
