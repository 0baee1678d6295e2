"""A stream that plays on a virtual clock: real lanes, playout, director and pump."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from runtime.character.character import Character, Speaker
from runtime.timing import OUTPUT_RATE
from runtime.values import Box
from server.config import Pacing
from server.generation import tick_scheduler as director
from server.playout import Pace, Playout, Slice
from server.protocol.server_events import ServerEvent
from server.speech.lane import SpeakerLane
from server.speech.pcm import PcmFormat
from server.webrtc.pacer import send_slices
from tests.support.flash import FlashGenerator

PCM = PcmFormat(OUTPUT_RATE)
WHITE = 200


def character(*names: str) -> Character:
    speakers = tuple(Speaker(each, each, Box(0.1, 0.1, 0.2, 0.2)) for each in names)
    return Character("x", "x", Path(), Path(), speakers)


def loud(ms: int, rate: int = OUTPUT_RATE) -> bytes:
    """PCM16 that is loud in every sample; at the output rate it is played unchanged."""
    return np.full(rate // 1000 * ms, 16_384, "<i2").tobytes()


def is_white(played: Slice) -> bool:
    return played.pixels[0, 0, 0] > WHITE


def is_loud(played: Slice) -> bool:
    return bool((np.abs(played.sound) > 6500).any())


class TimedThread:
    """Stands for the model thread: a tick takes `cost_s()` of the loop's time. With a device it is
    asked for in that time, and its pictures are there after `device_s` more of a device's, which
    works on one tick after another.
    """

    def __init__(self, cost_s: Callable[[], float], device_s: float | None = None) -> None:
        self._cost_s = cost_s
        self._device_s = device_s
        self._free_at = 0.0
        self._done_at: deque[float] = deque()

    async def run(self, call, deadline: float = 0.0):
        if call.func is not director._run_tick:
            return call()
        took_s = self._cost_s()
        await asyncio.sleep(took_s)
        tick, needed, _ = call()
        if self._device_s is not None:
            self._free_at = max(self._free_at, asyncio.get_running_loop().time()) + self._device_s
            self._done_at.append(self._free_at)
            tick = replace(tick, is_ready=False)
        return tick, needed, took_s

    async def beside(self, call):
        await asyncio.sleep(self._done_at.popleft() - asyncio.get_running_loop().time())
        return call()


@dataclass(slots=True, repr=False)
class Playing:
    """What plays and what it did. No repr: asyncio prints a task's result, arrays and all."""

    lanes: dict[str, SpeakerLane]
    playout: Playout
    director: director.Director
    sent: list[tuple[float, Slice]] = field(default_factory=list)
    events: list[tuple[float, ServerEvent]] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)

    def say(self, speaker: str, data: bytes, item: str | None = None, *, commit=True) -> None:
        self.note(self.lanes[speaker].append(data, item, PCM))
        if commit:
            self.note(self.lanes[speaker].commit(item))
        self.director.nudge()

    def commit(self, speaker: str, item: str | None = None) -> None:
        self.note(self.lanes[speaker].commit(item))
        self.director.nudge()

    def cut(self, *speakers: str) -> None:
        self.note(self.director.cut(speakers))

    def note(self, events) -> None:
        now = asyncio.get_running_loop().time()
        self.events += [(now, event) for event in events]

    def of(self, kind: type[ServerEvent]) -> list[ServerEvent]:
        return [event for _, event in self.events if type(event) is kind]

    async def push(self, played: Slice, due: float) -> None:
        self.sent.append((due, played))

    def on_slice(self, played: Slice, pace: Pace | None, lag_s: float) -> None:
        self.note(played.events)
        if pace is not None:
            self.paces.append(pace)

    def heard_ms(self) -> float:
        """Milliseconds of loud sound that left."""
        return sum(int((np.abs(s.sound) > 8000).sum()) for _, s in self.sent) / 48


@asynccontextmanager
async def playing(
    *names: str,
    cost_s: Callable[[], float] = lambda: 0.05,
    device_s: float | None = None,
    buffer_ms=60_000,
):
    names = names or ("ana",)
    pacing = Pacing()
    lanes = {each: SpeakerLane(each, buffer_ms, pacing.rebuffer_ms) for each in names}
    playout = Playout(lanes)
    generator = FlashGenerator(character(*names))
    directed = director.Director(generator, playout, TimedThread(cost_s, device_s), pacing)
    stage = Playing(lanes, playout, directed)
    tasks = [
        asyncio.ensure_future(directed.run()),
        asyncio.ensure_future(send_slices(playout, directed, [stage], stage.on_slice)),
    ]
    try:
        yield stage
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
