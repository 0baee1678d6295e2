"""The loop that sends one slice every 40 ms, each when it is due, both tracks together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from server.playout import Pace, Playout, Slice


class SliceTrack(Protocol):
    """Takes slices; waits while its sender is behind."""

    async def push(self, played: Slice, due: float) -> None: ...


async def send_slices(
    playout: Playout,
    tracks: Sequence[SliceTrack],
    on_slice: Callable[[Slice, Pace | None, float], None],
) -> None:
    """Pace slices onto the tracks until cancelled; playout must have a frame.

    `on_slice(slice, pace_change, lag_s)` runs after each send.
    """
    loop = asyncio.get_running_loop()
    playout.start_clock(loop.time())
    try:
        while True:
            due = playout.next_due(loop.time())
            await asyncio.sleep(due - loop.time())
            lag_s = max(0.0, loop.time() - due)
            played, pace = playout.next_slice()
            for track in tracks:
                await track.push(played, due)
            on_slice(played, pace, lag_s)
    finally:
        playout.stop_clock()
