"""Decides when the next tick runs and with which sound: the loop between speech and frames.

While nobody speaks, a tick starts as late as it can without letting playout run dry, so that
new speech finds an early frame to start at. While speech waits, ticks run as soon as they have
their sound, up to a bounded lead.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from runtime.timing import SAMPLES_PER_FRAME
from runtime.values import Frame
from server.config import Pacing
from server.generation.interface import Generator
from server.generation.model_thread import ModelThread, Work
from server.generation.tick_job import EmotionChange, RewindJob, SpeechPart, TickJob, TickResult
from server.playout import SLOT_MS, SLOT_S, Playout
from server.protocol.outbox import Emit
from server.protocol.server_events import MetricsTick

START_FRAMES = 5
"""Frames that must exist before the media starts: those of latent frames 0 and 1."""
FIRST_GUESS_S = 0.15
LONGEST_GUESS_S = 0.6
TICKS_REMEMBERED = 12


class TickTimes:
    """How long a tick takes from its request to its frames, waiting for the model included."""

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
        """The longest recent tick, but at most the playing time of its frames."""
        return min(max(self._recent, default=FIRST_GUESS_S), self._longest_guess_s)

    @property
    def rtf(self) -> float:
        """Recent compute time over media time; 0 before the first frame."""
        return self._busy_s / self._media_s if self._media_s else 0.0


class TickScheduler:
    """Runs one stream's ticks. `run` is the session's task; call the rest on the event loop.

    It exists before its stream does: emotions set meanwhile take effect with the first tick.
    `emit` gets a `metrics.tick` for each tick.
    """

    def __init__(
        self,
        playout: Playout,
        thread: ModelThread,
        pacing: Pacing,
        emit: Emit,
        emotions: Iterable[EmotionChange] = (),
    ) -> None:
        self._playout = playout
        self._thread = thread
        self._pacing = pacing
        self._emit = emit
        self._generator: Generator | None = None
        self._needed = 0
        self._wake = asyncio.Event()
        self._can_play = asyncio.Event()
        self._emotions = list(emotions)
        self._rewind: RewindJob | None = None
        self._cancel_tick = threading.Event()
        self._pending: asyncio.Task[None] | None = None
        self._pending_frames = 0
        self.times = TickTimes()

    def wake(self) -> None:
        """Something changed: speech arrived, a slice left, the clock started."""
        self._wake.set()

    def set_emotion(self, speaker: str, name: str, strength: float) -> None:
        """Takes effect with the next tick."""
        self._emotions.append(EmotionChange(speaker, name, strength))
        self.wake()

    @property
    def waiting_emotions(self) -> tuple[EmotionChange, ...]:
        """Changes that have not taken effect yet."""
        return tuple(self._emotions)

    async def until_playable(self) -> None:
        """Wait until there are enough frames for the media to start."""
        await self._can_play.wait()

    def interrupt(self, speakers: Iterable[str]) -> None:
        """Silence the speakers now, and generate anew from the earliest frame that is possible.

        Frames before the resume point keep playing (mouth still moving) until their replacements
        arrive. If another speaker is still talking, two ticks' worth are kept, so that this voice
        has no gap; otherwise one frame.
        """
        silenced = frozenset(speakers)
        position = self._playout.next_frame * SAMPLES_PER_FRAME
        lanes = self._playout.lanes
        was_placed = any(lanes[speaker].placed_until > position for speaker in silenced)
        self._playout.interrupt(silenced)
        if self._generator is None or not was_placed:
            return
        others = any(
            lane.placed_until > position for name, lane in lanes.items() if name not in silenced
        )
        # Two ticks: the one that may be running, and the one that makes the new frames.
        kept = 1 + (math.ceil(2 * self.times.guess_s / SLOT_S) if others else 0)
        frame = min(self._playout.next_frame + kept, self._playout.generated)
        self._playout.drop_from(self._generator.resume_frame(frame))
        before = self._rewind.clear if self._rewind else frozenset()
        self._rewind = RewindJob(self._generator, frame, before | silenced, self._cancel_tick)
        self._cancel_tick.set()
        self.wake()

    async def run(self, open_stream: Callable[[], Generator]) -> None:
        """Open the stream, then tick for ever. Ends by cancellation or the generator's error."""
        self._generator = await self._thread.run(open_stream, work=Work.OPEN)
        self._needed = self._generator.needed_samples
        try:
            while True:
                await self._until_due()
                if self._rewind is not None:
                    await self._run_rewind()
                else:
                    await self._run_tick(self._generator)
        finally:
            if self._pending is not None:
                self._pending.cancel()

    # ------------------------------------------------------------ when

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._pending is not None and self._pending.done():
                await self._finish_pending()
            wait_s = self._latest_start() - loop.time()
            if self._rewind is not None or wait_s <= 0 or self._is_eager():
                return
            try:
                async with asyncio.timeout(wait_s if math.isfinite(wait_s) else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _latest_start(self) -> float:
        """When the next tick must start for its frames to be in time, in the loop's time."""
        lead = self._playout.lead_frames + self._pending_frames
        clock = self._playout.clock
        if clock is None:
            return -math.inf if lead < START_FRAMES else math.inf
        due = clock.due(self._playout.slot + lead)
        return due - self.times.guess_s - self._pacing.margin_ms / 1000

    def _is_eager(self) -> bool:
        """Whether speech waits, the next tick has all of its sound, and the lead allows it."""
        lead = self._playout.lead_frames + self._pending_frames
        if self._playout.clock is None or lead * SLOT_MS >= self._pacing.max_lead_ms:
            return False
        ahead = (self._playout.generated + self._pending_frames) * SAMPLES_PER_FRAME
        lanes = self._playout.lanes.values()
        if not any(lane.has_unplaced or lane.placed_until > ahead for lane in lanes):
            return False
        return all(lane.can_fill(self._needed) for lane in lanes)

    # ------------------------------------------------------------ what

    async def _run_tick(self, generator: Generator) -> None:
        loop = asyncio.get_running_loop()
        parts = tuple(
            SpeechPart(name, tuple(lane.advance_to(self._needed)), self._needed)
            for name, lane in self._playout.lanes.items()
        )
        emotions, self._emotions = tuple(self._emotions), []
        requested = loop.time()
        job = TickJob(generator, parts, emotions, self._cancel_tick)
        result = await self._thread.run(job, self._latest_start())
        self._needed = result.needed_samples
        wait_s = loop.time() - requested - result.compute_s
        if result.is_ready:
            self._take(result.frames, result, result.compute_s, wait_s)
            return
        await self._finish_pending()  # of two ticks under way, the older one's frames come first
        self._pending_frames = len(result.frames)
        self._pending = asyncio.create_task(self._take_later(result, requested, wait_s))

    async def _take_later(self, result: TickResult, requested: float, wait_s: float) -> None:
        """Wait, beside the next tick, for frames that a device still works on."""
        try:
            frames: list[Frame] = await self._thread.beside(partial(list, result.frames))
        finally:
            self._pending_frames = 0
            self.wake()
        compute_s = asyncio.get_running_loop().time() - requested - wait_s
        self._take(frames, result, compute_s, wait_s)

    async def _finish_pending(self) -> None:
        """Wait for the frames under way; raises what went wrong with them."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await pending

    def _take(
        self, frames: Sequence[Frame], result: TickResult, compute_s: float, wait_s: float
    ) -> None:
        """Hand a tick's frames to playout, unless an interruption came before them."""
        self.times.add(wait_s + compute_s, compute_s, len(frames))
        if self._rewind is not None or not frames:
            return  # frames made before the interruption are never shown
        lead = self._playout.add(frames[0].index, [frame.pixels for frame in frames])
        if lead >= START_FRAMES:
            self._can_play.set()
        self._emit(
            MetricsTick(
                stages={"wait": round(1000 * wait_s, 2)}
                | {name: round(ms, 2) for name, ms in result.stages.items()},
                frames=len(frames),
                lead_ms=lead * SLOT_MS,
                rtf=round(self.times.rtf, 3),
            )
        )

    async def _run_rewind(self) -> None:
        await self._finish_pending()  # while the interruption stands, so that they are dropped
        assert self._rewind is not None
        # Taken before the wait: an interruption during it asks for a rewind of its own.
        job, self._rewind = self._rewind, None
        result = await self._thread.run(job)
        self._needed = result.needed_samples
        for speaker in job.clear:
            self._playout.lanes[speaker].resume_at(result.resumes_at)
