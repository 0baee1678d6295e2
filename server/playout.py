"""Playout: frames and placed speech become slices, one every 40 ms of the media clock.

A slice is one video frame with its 40 ms of sound. Slots count the slices and never stop;
timeline frames count what the generator made. If the next frame is late, the slot repeats the last
frame's pixels and holds the sound: both stay in lockstep, and nothing is dropped.
Pure: no clock is read here, `now` is an argument.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from runtime.timing import OUTPUT_RATE, OUTPUT_SAMPLES_PER_FRAME, SAMPLES_PER_FRAME, VIDEO_FPS
from runtime.values import Pixels
from server.protocol.errors import ErrorCode, ProtocolError
from server.speech.lane import SpeakerLane

SLOT_S = 1 / VIDEO_FPS
SLOT_MS = 1000 // VIDEO_FPS
RESYNC_AFTER_S = 1.0
"""After a longer stop (a suspended machine) the clock goes on from now, not in a burst."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slot sends: `pixels` (H, W, 3) uint8, `sound` (1920,) int16 at 48 kHz.

    `frame` is the timeline's frame; None if the pixels are a repeat and the sound is held.
    """

    slot: int
    frame: int | None
    pixels: Pixels
    sound: NDArray[np.int16]


class MediaClock:
    """When each slot is due: one start time, counted in slots, so that waits never add up."""

    def __init__(self, now: float, slot: int = 0) -> None:
        self._start = now - slot * SLOT_S

    def due(self, slot: int) -> float:
        return self._start + slot * SLOT_S

    def keep_up(self, slot: int, now: float) -> bool:
        """Make `slot` due at `now` if the clock has fallen far behind; whether it had."""
        is_behind = now - self.due(slot) > RESYNC_AFTER_S
        if is_behind:
            self._start = now - slot * SLOT_S
        return is_behind


class Pace(Enum):
    ON_TIME = "on_time"
    DEGRADED = "degraded"


class Lateness:
    """Turns late slots into one change to `degraded` and one back, without flapping."""

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
    """Frames not yet played, the lanes whose sound goes with them, the slot counter, the clock."""

    def __init__(
        self, lanes: Iterable[SpeakerLane], on_resync: Callable[[], None] = lambda: None
    ) -> None:
        self.lanes: Mapping[str, SpeakerLane] = {lane.speaker: lane for lane in lanes}
        """By speaker, from left to right."""
        self.slot = 0
        self.next_frame = 0
        self.clock: MediaClock | None = None
        """Set while slices are sent."""
        self._waiting: deque[Pixels] = deque()
        self._last: Pixels | None = None
        self._is_interrupted = False
        self._lateness = Lateness()
        self._on_resync = on_resync

    @property
    def generated(self) -> int:
        """Number of timeline frames that exist: the next one to generate."""
        return self.next_frame + len(self._waiting)

    @property
    def lead_frames(self) -> int:
        """Frames generated and not yet played."""
        return len(self._waiting)

    @property
    def has_open_item(self) -> bool:
        return any(lane.has_open_item for lane in self.lanes.values())

    @property
    def has_speech(self) -> bool:
        """Whether some speaker's item is still to play, or to be continued."""
        return any(lane.has_items for lane in self.lanes.values())

    def lane(self, speaker: str | int | None) -> SpeakerLane:
        """The lane of a speaker by name or by number from the left; None is the first one."""
        names = list(self.lanes)
        if speaker is None:
            speaker = 0
        if isinstance(speaker, int) and speaker < len(names):
            return self.lanes[names[speaker]]
        if isinstance(speaker, str) and speaker in self.lanes:
            return self.lanes[speaker]
        raise unknown_speaker(speaker, names)

    def lanes_of(self, speaker: str | int | None) -> list[SpeakerLane]:
        """The lane of a speaker; None is all of them."""
        return list(self.lanes.values()) if speaker is None else [self.lane(speaker)]

    # ------------------------------------------------------------ slices

    def start_clock(self, now: float) -> None:
        """The next slice is due now."""
        self.clock = MediaClock(now, self.slot)

    def stop_clock(self) -> None:
        self.clock = None

    def next_due(self, now: float) -> float:
        """When the next slice is due; needs a started clock."""
        assert self.clock is not None
        if self.clock.keep_up(self.slot, now):
            self._on_resync()
        return self.clock.due(self.slot)

    def next_slice(self) -> tuple[Slice, Pace | None]:
        """The slice of the next slot, and the pace if it changed. Needs one frame at least."""
        slot, self.slot = self.slot, self.slot + 1
        is_held = not self._waiting
        sound = np.zeros(OUTPUT_SAMPLES_PER_FRAME, np.float32)
        frame = None
        if not is_held:
            frame, self._last = self.next_frame, self._waiting.popleft()
            self.next_frame += 1
            for lane in self.lanes.values():
                lane.mix_into(sound, frame)
                lane.frame_left(frame, slot * SLOT_MS)
        assert self._last is not None, "no frame was ever generated"
        pace = self._lateness.observe(slot, is_late=is_held and not self._is_interrupted)
        return Slice(slot, frame, self._last, to_pcm16(sound)), pace

    # ------------------------------------------------------------ frames

    def add(self, first: int, frames: Sequence[Pixels]) -> int:
        """Take the pixels of frames `first`, `first` + 1, .., the next ones; the new lead."""
        assert first == self.generated, (first, self.generated)
        self._waiting.extend(frames)
        self._is_interrupted = self._is_interrupted and not frames
        return len(self._waiting)

    def interrupt(self, speakers: Iterable[str]) -> None:
        """Silence `speakers` from the next slice on; their items end as interrupted."""
        position = self.next_frame * SAMPLES_PER_FRAME
        for speaker in speakers:
            self.lanes[speaker].interrupt(position)

    def drop_from(self, frame: int) -> None:
        """Forget `frame` and later ones: they will be generated again."""
        while self.generated > max(frame, self.next_frame):
            self._waiting.pop()
        self._is_interrupted = True


def unknown_speaker(speaker: str | int, known: Iterable[str]) -> ProtocolError:
    shown = f"number {speaker}" if isinstance(speaker, int) else repr(speaker[:64])
    return ProtocolError(
        ErrorCode.UNKNOWN_SPEAKER,
        f"There is no speaker {shown}; the speakers are {', '.join(known)}. Use one of them, or "
        "name the faces with session.update before the media starts.",
        "speaker",
    )


def to_pcm16(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """Mixed sound as PCM16, clipped; values that are not numbers become silence."""
    finite = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.round(np.clip(finite, -1.0, 1.0) * 32767.0).astype(np.int16)


assert OUTPUT_RATE == VIDEO_FPS * OUTPUT_SAMPLES_PER_FRAME
