"""The loop that sends one slice every 40 ms, each when it is due, both tracks together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from server.generation.tick_scheduler import Director
from server.playout import MediaClock, Pace, Playout, Slice


class SliceTrack(Protocol):
    """Takes slices; waits while its sender is behind."""

    async def push(self, played: Slice, due: float) -> None: ...


async def send_slices(
    playout: Playout,
    director: Director,
    tracks: Sequence[SliceTrack],
    on_slice: Callable[[Slice, Pace | None, float], None],
) -> None:
    """Send from the first picture on, until cancelled; `on_slice` also hears the lag in seconds."""
    loop = asyncio.get_running_loop()
    await director.has_pictures.wait()
    clock = director.clock = MediaClock(loop.time(), playout.slot)
    try:
        while True:
            director.nudge()
            clock.keep_up(playout.slot, loop.time())
            due = clock.due(playout.slot)
            await asyncio.sleep(due - loop.time())
            lag_s = max(0.0, loop.time() - due)
            played, pace = playout.next_slice()
            for track in tracks:
                await track.push(played, due)
            on_slice(played, pace, lag_s)
    finally:
        director.clock = None
