"""Playout: pictures and placed speech become slices, one every 40 ms of the media clock.

A slice is one video frame with its 40 ms of sound. Slots count what leaves and never stop;
timeline frames count what the generator made. When the next picture is late, the slot repeats
the last picture and holds the sound, so both stay in lockstep and nothing is dropped.
Pure: no clock is read here, `now` is an argument of `MediaClock`.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, OUTPUT_SAMPLES_PER_FRAME, SAMPLES_PER_FRAME, VIDEO_FPS
from runtime.values import Pixels
from server.protocol.server_events import ServerEvent
from server.speech.lane import SpeakerLane

SLOT_S = 1 / VIDEO_FPS
SLOT_MS = 1000 // VIDEO_FPS
RESYNC_AFTER_S = 1.0
"""A loop that was stopped for longer than this goes on from now instead of in a burst."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slot sends: `pixels` (H, W, 3) uint8, `sound` (1920,) int16 at 48 kHz.

    `frame` is the timeline's frame, None when the picture is a repeat and the sound is held.
    """

    slot: int
    frame: int | None
    pixels: Pixels
    sound: NDArray[np.int16]
    events: tuple[ServerEvent, ...]

    @property
    def audio_pts(self) -> int:
        """In samples of 48 kHz."""
        return self.slot * OUTPUT_SAMPLES_PER_FRAME


class MediaClock:
    """When each slot is due: one start, counted in slots, so that waits never add up."""

    def __init__(self, now: float, slot: int = 0) -> None:
        self._start = now - slot * SLOT_S
        self.resyncs = 0

    def due(self, slot: int) -> float:
        return self._start + slot * SLOT_S

    def keep_up(self, slot: int, now: float) -> None:
        """Let `slot` be due at `now` if the clock was left far behind (a suspended machine)."""
        if now - self.due(slot) > RESYNC_AFTER_S:
            self._start = now - slot * SLOT_S
            self.resyncs += 1


class Pace(Enum):
    ON_TIME = "on_time"
    DEGRADED = "degraded"


class Lateness:
    """Turns held slots into one `degraded` and one `recovered`, without flapping."""

    LATE_SLOTS = 3
    WITHIN_SLOTS = 25
    RECOVERED_AFTER_SLOTS = 50

    def __init__(self) -> None:
        self.pace = Pace.ON_TIME
        self._late: deque[int] = deque()

    def observe(self, slot: int, *, is_late: bool) -> Pace | None:
        """The new pace if it changed with this slot."""
        if is_late:
            self._late.append(slot)
        while self._late and slot - self._late[0] >= self.RECOVERED_AFTER_SLOTS:
            self._late.popleft()
        recent = sum(slot - each < self.WITHIN_SLOTS for each in self._late)
        if self.pace is Pace.ON_TIME and recent >= self.LATE_SLOTS:
            self.pace = Pace.DEGRADED
        elif self.pace is Pace.DEGRADED and not self._late:
            self.pace = Pace.ON_TIME
        else:
            return None
        return self.pace


class Playout:
    """The pictures not yet played, the lanes whose sound goes with them, and the slot counter."""

    def __init__(self, lanes: Mapping[str, SpeakerLane]) -> None:
        self.lanes = lanes
        self.slot = 0
        self.next_frame = 0
        self.held_slots = 0
        self._pictures: deque[Pixels] = deque()
        self._last: Pixels | None = None
        self._is_cut = False
        self._lateness = Lateness()

    @property
    def generated(self) -> int:
        """Timeline frames that exist: the next one to generate."""
        return self.next_frame + len(self._pictures)

    @property
    def lead_frames(self) -> int:
        """Frames generated and not yet played."""
        return len(self._pictures)

    def add(self, first: int, pictures: Sequence[Pixels]) -> None:
        """Take the pictures of frames `first`, `first` + 1, ..: the next ones in order."""
        assert first == self.generated, (first, self.generated)
        self._pictures.extend(pictures)
        self._is_cut = self._is_cut and not pictures

    def next_slice(self) -> tuple[Slice, Pace | None]:
        """The slice of the next slot, and the pace if it changed. Needs one picture at least."""
        slot, self.slot = self.slot, self.slot + 1
        is_held = not self._pictures
        sound = np.zeros(OUTPUT_SAMPLES_PER_FRAME, np.float32)
        frame, events = None, []
        if not is_held:
            frame, self._last = self.next_frame, self._pictures.popleft()
            self.next_frame += 1
            for lane in self.lanes.values():
                lane.mix_into(sound, frame)
                events += lane.leave(frame, slot * SLOT_MS)
        assert self._last is not None, "no picture was ever generated"
        self.held_slots += is_held
        pace = self._lateness.observe(slot, is_late=is_held and not self._is_cut)
        return Slice(slot, frame, self._last, to_pcm16(sound), tuple(events)), pace

    def cut(self, speakers: Iterable[str]) -> list[ServerEvent]:
        """Silence `speakers` from the next slice on; their items end as cut."""
        position = self.next_frame * SAMPLES_PER_FRAME
        events: list[ServerEvent] = []
        for speaker in speakers:
            events += self.lanes[speaker].clear_output(position)
        return events

    def drop_from(self, frame: int) -> None:
        """Forget the pictures of `frame` and later: they will be generated again."""
        while self.generated > max(frame, self.next_frame):
            self._pictures.pop()
        self._is_cut = True


def to_pcm16(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """Mixed sound as PCM16, clipped; a value that is no number is silence."""
    finite = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.round(np.clip(finite, -1.0, 1.0) * 32767.0).astype(np.int16)


assert OUTPUT_RATE == VIDEO_FPS * OUTPUT_SAMPLES_PER_FRAME
