"""Recordings of a process that is killed at a random moment."""

import asyncio
import os
import random
import sys
from pathlib import Path

import av
import pytest

from tests.support import recording_process

LOST_MS = 2_000  # of what was received before the end, at most
AT_ONCE = 2  # processes


async def kill_one(file: Path, after_s: float) -> tuple[int, int]:
    """Kill a recording `after_s` seconds after it began; (received, readable) milliseconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        recording_process.__name__,
        str(file),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(after_s)
    process.kill()
    lines = (await process.stdout.read()).split()
    await process.wait()
    return int(lines[-1]), readable_ms(file)


def readable_ms(file: Path) -> int:
    """How far the sound and the pictures of a file can be decoded without an error."""
    ends = []
    for kind in ("video", "audio"):
        with av.open(str(file)) as container:
            stream = getattr(container.streams, kind)[0]
            *_, last = container.decode(stream)
            ends.append(round(1000 * last.time))
    return min(ends)


async def kill(folder: Path, count: int, latest_s: float) -> list[tuple[int, int]]:
    gate = asyncio.Semaphore(AT_ONCE)
    kinds = ("mp4", "mov", "mkv")

    async def one(number: int) -> tuple[int, int]:
        async with gate:
            file = folder / f"{number}.{kinds[number % len(kinds)]}"
            return await kill_one(file, random.uniform(2.0, latest_s))

    return await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.realtime
@pytest.mark.fault("shutdown")
async def test_a_killed_recording_is_readable_to_within_two_seconds(tmp_path):
    """A recording whose process is killed can be played to within two seconds of its end."""
    for received, readable in await kill(tmp_path, 3, 3.0):
        assert received - readable <= LOST_MS


@pytest.mark.nightly
@pytest.mark.realtime
@pytest.mark.fault("shutdown")
async def test_fifty_recordings_that_are_killed_at_random_moments_are_all_readable(tmp_path):
    """Of 50 recordings killed at random moments, all can be played to within two seconds."""
    results = await kill(tmp_path, 50, 9.0)
    lost = sorted(received - readable for received, readable in results)
    print(f"lost ms: median {lost[25]}, most {lost[-1]}, of {len(lost)}")
    assert lost[-1] <= LOST_MS
