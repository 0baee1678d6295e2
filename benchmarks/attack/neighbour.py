"""A healthy session in a process of its own: does it still get its pictures during an attack?

    python -m benchmarks.attack.neighbour URL

It speaks again and again. For each line on its standard input it prints what it saw since the line
before, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import wave
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from avatar_client.client import AvatarClient
from avatar_client.events import Error, OutputCleared, OutputStopped
from avatar_client.received_media import ReceivedFrame

from benchmarks.running_server import HELLO


@dataclass(slots=True)
class Seen:
    """What arrived in one stretch of time."""

    seconds: float
    pictures: int
    pictures_per_s: float
    longest_gap_ms: float
    utterances: int
    cut_short: int
    errors: int


class Neighbour:
    """Counts what its session brings."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._arrivals: list[float] = []
        self._played_ms: list[int] = []
        self._cut_short = 0
        self._errors = 0

    def take(self, received: ReceivedFrame[Any]) -> None:
        if received.kind == "video":
            self._arrivals.append(received.arrived_s)

    def note(self, event: object) -> None:
        match event:
            case OutputStopped():
                self._played_ms.append(event.audio_end_ms)
            case OutputCleared():
                self._cut_short += 1
            case Error():
                self._errors += 1

    def report(self, now: float) -> Seen:
        """What was seen since the last report."""
        times = [self._since, *self._arrivals, now]
        gaps = [after - before for before, after in pairwise(times)]
        seconds, pictures = now - self._since, len(self._arrivals)
        seen = Seen(
            round(seconds, 2),
            pictures,
            round(pictures / max(seconds, 1e-3), 2),
            round(1000 * max(gaps)),
            len(self._played_ms),
            self._cut_short,
            self._errors,
        )
        self._since = now
        self._arrivals, self._played_ms = [], []
        self._cut_short = self._errors = 0
        return seen


async def speak_again_and_again(client: AvatarClient) -> None:
    """Say the sample, wait until it was played, and begin anew."""
    with wave.open(str(HELLO)) as file:
        pcm, rate = file.readframes(file.getnframes()), file.getframerate()
    while True:
        with client.events() as events:
            await client.speak(pcm, rate=rate)
            async for event in events:
                if isinstance(event, OutputStopped | OutputCleared):
                    break


async def lines() -> AsyncIterator[bytes]:
    """The lines of standard input as they come."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for line in reader:
        yield line


async def watch(url: str) -> None:
    loop = asyncio.get_running_loop()
    async with await AvatarClient.connect(url) as client:
        neighbour = Neighbour(loop.time())
        media = await client.open_media()
        media.tap(neighbour.take)

        async def note_events() -> None:
            async for event in client.events():
                neighbour.note(event)

        tasks = [
            asyncio.create_task(speak_again_and_again(client)),
            asyncio.create_task(note_events()),
        ]
        async for _ in lines():
            print(json.dumps(asdict(neighbour.report(loop.time()))), flush=True)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1]))
