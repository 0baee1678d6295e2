"""Decides when the next tick runs and what it hears: the loop between speech and pictures.

While nobody speaks, a tick starts as late as it can without letting playout run dry, so that
new speech finds an early frame to start at. While speech waits, ticks run as soon as they have
their sound, up to a bounded lead.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from runtime.timing import SAMPLES_PER_FRAME
from runtime.values import Frame, Samples
from server.config import Pacing
from server.generation.interface import Generator, Tick
from server.generation.model_thread import ModelThread
from server.playout import SLOT_MS, SLOT_S, MediaClock, Playout
from server.protocol.server_events import MetricsTick, ServerEvent

START_FRAMES = 5
"""Frames to have before the media starts: latent frames 0 and 1."""
FIRST_GUESS_S = 0.15
LONGEST_GUESS_S = 0.6
TICKS_REMEMBERED = 12


@dataclass(frozen=True, slots=True)
class _Mood:
    speaker: str
    name: str
    strength: float


@dataclass(frozen=True, slots=True)
class _Hearing:
    """What one speaker's timeline gets before a tick: sound, then silence up to `until`."""

    speaker: str
    sound: tuple[Samples, ...]
    until: int


class TickTimes:
    """How long a tick takes from asking to having it, waiting for the model included."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=TICKS_REMEMBERED)
        self._longest_guess_s = LONGEST_GUESS_S
        self._busy_s = 0.0
        self._media_s = 0.0

    def add(self, seconds: float, compute_s: float, frames: int) -> None:
        self._recent.append(seconds)
        self._longest_guess_s = max(LONGEST_GUESS_S, frames * SLOT_S)
        self._busy_s = 0.9 * self._busy_s + compute_s
        self._media_s = 0.9 * self._media_s + frames * SLOT_S

    @property
    def guess_s(self) -> float:
        """The longest of the recent ones, at most as long as what it made plays."""
        return min(max(self._recent, default=FIRST_GUESS_S), self._longest_guess_s)

    @property
    def rtf(self) -> float:
        """Compute time over media time, lately; 0 before the first frame."""
        return self._busy_s / self._media_s if self._media_s else 0.0


class Director:
    """Runs one stream's ticks. `run` is the session's task; the rest is called on the loop."""

    def __init__(
        self, generator: Generator, playout: Playout, thread: ModelThread, pacing: Pacing
    ) -> None:
        self._generator = generator
        self._playout = playout
        self._thread = thread
        self._pacing = pacing
        self._needed = generator.needed()
        self._wake = asyncio.Event()
        self._moods: list[_Mood] = []
        self._cut: tuple[int, frozenset[str]] | None = None
        self._coming: asyncio.Task[None] | None = None
        self._coming_frames = 0
        self.clock: MediaClock | None = None
        self.times = TickTimes()
        self.has_pictures = asyncio.Event()
        self.on_tick: Callable[[MetricsTick], None] = lambda _: None

    def nudge(self) -> None:
        """Something changed: sound came, a slice left, the clock started."""
        self._wake.set()

    def set_mood(self, speaker: str, name: str, strength: float) -> None:
        """Takes effect with the next tick."""
        self._moods.append(_Mood(speaker, name, strength))
        self.nudge()

    def cut(self, speakers: Iterable[str]) -> list[ServerEvent]:
        """Barge-in: silence the speakers now, and generate again from the next frame that can be.

        The frames before that one still show the mouth moving: they are what plays while the
        new ones are made. Where somebody else speaks on, enough of them are kept for that
        voice to go on without a hole; else as few as can be.
        """
        cut = frozenset(speakers)
        position = self._playout.next_frame * SAMPLES_PER_FRAME
        lanes = self._playout.lanes
        was_placed = any(lanes[speaker].placed_until > position for speaker in cut)
        events = self._playout.cut(cut)
        if not was_placed:
            return events
        others = any(
            lane.placed_until > position for lane in lanes.values() if lane.speaker not in cut
        )
        # Two ticks: the one that may be running, and the one that makes the new pictures.
        kept = 1 + (math.ceil(2 * self.times.guess_s / SLOT_S) if others else 0)
        frame = min(self._playout.next_frame + kept, self._playout.generated)
        self._playout.drop_from(self._generator.resume_frame(frame))
        before = self._cut[1] if self._cut else frozenset()
        self._cut = (frame, before | cut)
        self._generator.give_up()
        self.nudge()
        return events

    async def run(self) -> None:
        """Tick for ever; ends by cancellation, or by what the generator raises."""
        try:
            while True:
                await self._until_due()
                if self._cut is not None:
                    await self._rewind()
                else:
                    await self._tick()
        finally:
            if self._coming is not None:
                self._coming.cancel()

    # ------------------------------------------------------------ when

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._coming is not None and self._coming.done():
                await self._settle()
            wait_s = self._latest_start() - loop.time()
            if self._cut is not None or wait_s <= 0 or self._is_eager():
                return
            try:
                async with asyncio.timeout(wait_s if math.isfinite(wait_s) else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _latest_start(self) -> float:
        """When the next tick must start for its pictures to be in time, in the loop's time."""
        lead = self._playout.lead_frames + self._coming_frames
        if self.clock is None:
            return -math.inf if lead < START_FRAMES else math.inf
        due = self.clock.due(self._playout.slot + lead)
        return due - self.times.guess_s - self._pacing.margin_ms / 1000

    def _is_eager(self) -> bool:
        """Whether speech waits, the next tick has all of its sound, and the lead allows it."""
        lead = self._playout.lead_frames + self._coming_frames
        if self.clock is None or lead * SLOT_MS >= self._pacing.max_lead_ms:
            return False
        ahead = (self._playout.generated + self._coming_frames) * SAMPLES_PER_FRAME
        lanes = self._playout.lanes.values()
        if not any(lane.has_unplaced or lane.placed_until > ahead for lane in lanes):
            return False
        return all(lane.can_fill(self._needed) for lane in lanes)

    # ------------------------------------------------------------ what

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        hearings = [
            _Hearing(lane.speaker, tuple(lane.advance_to(self._needed)), self._needed)
            for lane in self._playout.lanes.values()
        ]
        moods, self._moods = self._moods, []
        asked = loop.time()
        work = partial(_run_tick, self._generator, hearings, moods)
        tick, needed, compute_s = await self._thread.run(work, self._latest_start())
        self._needed = needed
        wait_s = loop.time() - asked - compute_s
        if tick.is_ready:
            self._take(tick, compute_s, wait_s)
            return
        await self._settle()  # of two ticks under way the older one's pictures come first
        self._coming_frames = len(tick.frames)
        self._coming = asyncio.create_task(self._take_coming(tick, asked, wait_s))

    async def _take_coming(self, tick: Tick, asked: float, wait_s: float) -> None:
        """Waits, beside the next tick, for pictures that a device still works on."""
        try:
            frames: list[Frame] = await self._thread.beside(partial(list, tick.frames))
        finally:
            self._coming_frames = 0
            self.nudge()
        compute_s = asyncio.get_running_loop().time() - asked - wait_s
        self._take(Tick(frames, tick.stages), compute_s, wait_s)

    async def _settle(self) -> None:
        """Waits for the pictures that are coming; raises what went wrong with them."""
        coming, self._coming = self._coming, None
        if coming is not None:
            await coming

    def _take(self, tick: Tick, compute_s: float, wait_s: float) -> None:
        """The pictures of a tick to playout, unless a cut came before they did."""
        self.times.add(wait_s + compute_s, compute_s, len(tick.frames))
        if self._cut is not None or not tick.frames:
            return  # pictures made before the cut was heard are never shown
        self._playout.add(tick.frames[0].index, [frame.pixels for frame in tick.frames])
        if self._playout.lead_frames >= START_FRAMES:
            self.has_pictures.set()
        self.on_tick(
            MetricsTick(
                stages={"wait": round(1000 * wait_s, 2)}
                | {name: round(ms, 2) for name, ms in tick.stages.items()},
                frames=len(tick.frames),
                lead_ms=self._playout.lead_frames * SLOT_MS,
                rtf=round(self.times.rtf, 3),
            )
        )

    async def _rewind(self) -> None:
        await self._settle()  # while the cut stands, so that they are dropped
        assert self._cut is not None
        frame, cut = self._cut
        # Taken before the wait: a cut that comes while this one runs asks for its own rewind.
        self._cut = None
        work = partial(_run_rewind, self._generator, frame, cut)
        resumes_at, self._needed = await self._thread.run(work)
        for speaker in cut:
            self._playout.lanes[speaker].pushed = resumes_at


def _run_tick(
    generator: Generator, hearings: list[_Hearing], moods: list[_Mood]
) -> tuple[Tick, int, float]:
    """On the model thread: feed, tick; what the tick after this one needs; seconds it took."""
    started = perf_counter()
    for mood in moods:
        generator.set_emotion(mood.speaker, mood.name, mood.strength)
    for hearing in hearings:
        for sound in hearing.sound:
            generator.push(hearing.speaker, sound)
        generator.fill_silence(hearing.speaker, hearing.until)
    tick = generator.tick()
    return tick, generator.needed(), perf_counter() - started


def _run_rewind(generator: Generator, frame: int, cut: frozenset[str]) -> tuple[int, int]:
    """On the model thread; new speech starts with the first new picture, never before it."""
    generator.rewind(frame, cut)
    resumes_at = generator.resume_frame(frame) * SAMPLES_PER_FRAME
    for speaker in cut:
        generator.fill_silence(speaker, resumes_at)
    return resumes_at, generator.needed()
