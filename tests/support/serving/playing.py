"""A stream that plays on a virtual clock: real lanes, playout, tick scheduler and pacer."""

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
from server.generation.model_thread import Work
from server.generation.tick_job import TickJob
from server.generation.tick_scheduler import TickScheduler
from server.playout import Pace, Playout, Slice
from server.protocol.server_events import MetricsTick, ServerEvent
from server.speech.lane import SpeakerLane
from server.speech.pcm import PcmFormat
from server.webrtc.pacer import send_slices
from tests.support.serving.flash import FlashGenerator

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
    """Stands for the model thread: a tick takes `cost_s()` of the loop's time.

    With a device, that is the time to queue the tick's work; its frames are ready after `device_s`
    more of the device's time, which works on one tick after another.
    """

    def __init__(self, cost_s: Callable[[], float], device_s: float | None = None) -> None:
        self._cost_s = cost_s
        self._device_s = device_s
        self._free_at = 0.0
        self._done_at: deque[float] = deque()

    async def run(self, call, deadline: float = 0.0, work: Work = Work.TICK):
        if not isinstance(call, TickJob):
            return call()
        took_s = self._cost_s()
        await asyncio.sleep(took_s)
        result = replace(call(), compute_s=took_s)
        if self._device_s is not None:
            self._free_at = max(self._free_at, asyncio.get_running_loop().time()) + self._device_s
            self._done_at.append(self._free_at)
            result = replace(result, is_ready=False)
        return result

    async def beside(self, call):
        await asyncio.sleep(self._done_at.popleft() - asyncio.get_running_loop().time())
        return call()


@dataclass(slots=True, repr=False)
class Playing:
    """What plays and what it did. No repr: asyncio prints a task's result, arrays and all."""

    sent: list[tuple[float, Slice]] = field(default_factory=list)
    events: list[tuple[float, ServerEvent]] = field(default_factory=list)
    ticks: list[MetricsTick] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    lanes: dict[str, SpeakerLane] = field(default_factory=dict)
    playout: Playout | None = None
    scheduler: TickScheduler | None = None

    def say(self, speaker: str, data: bytes, item: str | None = None, *, commit=True) -> None:
        self.lanes[speaker].append(data, item, PCM)
        if commit:
            self.lanes[speaker].commit(item)
        self.scheduler.wake()

    def commit(self, speaker: str, item: str | None = None) -> None:
        self.lanes[speaker].commit(item)
        self.scheduler.wake()

    def interrupt(self, *speakers: str) -> None:
        self.scheduler.interrupt(speakers)

    def emit(self, event: ServerEvent) -> None:
        if isinstance(event, MetricsTick):
            self.ticks.append(event)
        else:
            self.events.append((asyncio.get_running_loop().time(), event))

    def of(self, kind: type[ServerEvent]) -> list[ServerEvent]:
        return [event for _, event in self.events if type(event) is kind]

    async def push(self, played: Slice, due: float) -> None:
        self.sent.append((due, played))

    def on_slice(self, played: Slice, pace: Pace | None, lag_s: float) -> None:
        self.scheduler.wake()
        if pace is not None:
            self.paces.append(pace)

    @property
    def held_slots(self) -> int:
        return sum(played.frame is None for _, played in self.sent)

    def heard_ms(self) -> float:
        """Milliseconds of loud sound that left."""
        return sum(int((np.abs(s.sound) > 8000).sum()) for _, s in self.sent) / 48

    async def play(self) -> None:
        await self.scheduler.until_playable()
        self.scheduler.wake()
        await send_slices(self.playout, [self], self.on_slice)


@asynccontextmanager
async def playing(
    *names: str,
    cost_s: Callable[[], float] = lambda: 0.05,
    device_s: float | None = None,
    buffer_ms=60_000,
):
    names = names or ("ana",)
    pacing = Pacing()
    stage = Playing()
    lanes = [SpeakerLane(each, buffer_ms, pacing.rebuffer_ms, stage.emit) for each in names]
    stage.playout = Playout(lanes)
    stage.lanes = stage.playout.lanes
    thread = TimedThread(cost_s, device_s)
    stage.scheduler = TickScheduler(stage.playout, thread, pacing, stage.emit)
    tasks = [
        asyncio.ensure_future(stage.scheduler.run(lambda: FlashGenerator(character(*names)))),
        asyncio.ensure_future(stage.play()),
    ]
    try:
        yield stage
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
