"""One speaker's items: queued, placed on the stream's timeline, played, and ended exactly once.

Pure bookkeeping in model samples (16 kHz) of the stream's timeline: frame k is heard over
[640 k, 640 (k + 1)). The session asks for speech up to where the next tick hears (`advance_to`);
playout mixes what was placed (`mix_into`) and tells what left (`leave`).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from runtime.timing import OUTPUT_SAMPLES_PER_FRAME, SAMPLE_RATE, SAMPLES_PER_FRAME
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.server_events import (
    AvatarState,
    BufferHigh,
    BufferStatus,
    InputCleared,
    InputCommitted,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    ServerEvent,
    SpeakerState,
)
from server.speech.pcm import OUTPUT_PER_MODEL_SAMPLE, PcmFormat, PcmReader, Sound, refuse_container

SAMPLES_PER_MS = SAMPLE_RATE // 1000
FADE_SAMPLES = 80
"""Sound that is cut fades out over 5 ms, so that it does not click."""
IDLE_AFTER_FRAMES = 5
"""A speaker is idle 200 ms after the last item ended, so that pauses between items do not flap."""
REMEMBERED_IDS = 256
MAX_ITEMS = 1000
STATUS_EVERY_FRAMES = 12
HIGH_WATER, LOW_WATER = 0.8, 0.5
MP3_HEAD_BYTES = 4096


@dataclass(slots=True)
class _Item:
    id: str
    reader: PcmReader
    head: bytes = b""
    is_open: bool = True
    is_truncated: bool = False
    is_starved: bool = False
    placed_samples: int = 0
    played_samples: int = 0

    @property
    def is_over(self) -> bool:
        no_more = not self.is_open and self.reader.unread_samples == 0
        return (no_more or self.is_truncated) and self.played_samples == self.placed_samples

    @property
    def is_waiting(self) -> bool:
        return not self.is_truncated and (self.is_open or self.reader.unread_samples > 0)

    @property
    def audio_end_ms(self) -> int:
        return self.played_samples // SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class _Placed:
    """A stretch of an item's sound at [start, stop) of the timeline, three output samples each."""

    start: int
    stop: int
    output: Sound
    item: _Item | None


class SpeakerLane:
    """The speech of one speaker, from arrival to the slice that leaves."""

    def __init__(self, speaker: str, max_buffer_ms: int, rebuffer_ms: int) -> None:
        self.speaker = speaker
        self.pushed = 0
        """Model samples of the timeline that the generator has of this speaker."""
        self.state = SpeakerState.IDLE
        self._max_samples = max_buffer_ms * SAMPLES_PER_MS
        self._rebuffer_samples = rebuffer_ms * SAMPLES_PER_MS
        self._items: deque[_Item] = deque()
        self._placed: deque[_Placed] = deque()
        self._ended: dict[str, bool] = {}  # item id -> whether the client cut it
        self._count = 0
        self._cut_open_item = False
        self._refused: str | None = None  # the item that turned out to be a file
        self._quiet_frames = 0
        self._is_high = False
        self._told_samples = 0

    # ------------------------------------------------------------ arriving

    @property
    def queued_samples(self) -> int:
        """Samples that arrived and were not played yet."""
        return sum(
            each.reader.unread_samples + each.placed_samples - each.played_samples
            for each in self._items
        )

    @property
    def has_open_item(self) -> bool:
        return self._open_item() is not None

    @property
    def has_unplaced(self) -> bool:
        return any(each.reader.unread_samples > 0 for each in self._items)

    @property
    def placed_until(self) -> int:
        """The timeline's sample at which the last placed sound ends; 0 when all was played."""
        return self._placed[-1].stop if self._placed else 0

    def append(self, data: bytes, item_id: str | None, pcm: PcmFormat) -> list[ServerEvent]:
        """Take bytes of the open item, or open one; `pcm` counts for a new item only."""
        if self._refused is not None and item_id in (None, self._refused):
            raise _rest_of_file()
        self._refused = None
        if item_id is not None and item_id in self._ended:
            if self._ended[item_id]:
                return []  # the rest of an item that the client has cut
            raise self._closed(item_id)
        events: list[ServerEvent] = []
        item = self._open_item()
        if item is not None and item_id is not None and item.id != item_id:
            events += self.commit(None)
            item = None
        if item is None:
            if any(each.id == item_id for each in self._items):
                raise self._closed(item_id)
            item = _Item(self._name(item_id), PcmReader(pcm))
        self._check(item, data, pcm)
        if not self._items or self._items[-1] is not item:
            self._items.append(item)
            self._cut_open_item = False
        item.reader.write(data)
        return events + self._high_water()

    def commit(self, item_id: str | None) -> list[ServerEvent]:
        """End the open item: no more of it will come."""
        self._refused = None
        item = self._open_item()
        if item is not None and item_id in (None, item.id):
            item.is_open = False
            item.reader.finish()
            return [InputCommitted(item_id=item.id, speaker=self.speaker)]
        if (item_id is None and self._cut_open_item) or self._ended.get(item_id or "", False):
            self._cut_open_item = False  # a commit that crossed the cut of its item
            return []
        raise ProtocolError(
            ErrorCode.EMPTY_COMMIT,
            f"found a commit for {self.speaker!r} with no open item"
            + (f" {item_id!r}" if item_id else "")
            + ", expected audio before it; append first",
            "item_id" if item_id else None,
        )

    def clear_input(self) -> list[ServerEvent]:
        """Forget what is not placed yet; what is placed plays on, and its item ends as cut."""
        events: list[ServerEvent] = []
        self._refused = None
        for item in [each for each in self._items if each.is_waiting]:
            self._cut_open_item |= item.is_open
            item.is_open = False
            item.is_truncated = True
            item.reader = PcmReader(PcmFormat())
            self._remember(item.id, cut=True)
            events.append(InputCleared(item_id=item.id, speaker=self.speaker))
        return (events or [InputCleared(speaker=self.speaker)]) + self._end_items()

    def clear_output(self, position: int) -> list[ServerEvent]:
        """Cut everything at `position` of the timeline, where the next slice starts."""
        events: list[ServerEvent] = []
        self._refused = None
        for item in self._items:
            self._cut_open_item |= item.is_open
            self._remember(item.id, cut=True)
            events.append(self._cleared(item))
        self._items.clear()
        tails = [_faded(each, position) for each in self._placed if each.start <= position]
        self._placed = deque(tail for tail in tails if tail is not None)
        self._quiet_frames = IDLE_AFTER_FRAMES
        return events + self._state_event()

    # ------------------------------------------------------------ placing

    def can_fill(self, until: int) -> bool:
        """Whether the timeline can be filled up to `until` without a hole inside an open item."""
        missing = until - self.pushed
        for item in self._waiting():
            if missing <= 0:
                break
            ready = self._ready(item, missing)
            if item.is_open and ready < missing:
                return False
            missing -= ready
        return True

    def advance_to(self, until: int) -> list[Sound]:
        """Place what is there up to `until`; the model sound to push at `pushed`, then silence.

        An open item that cannot fill its part waits whole, rather than be torn in small pieces.
        """
        pieces: list[Sound] = []
        at = self.pushed
        for item in self._waiting():
            if at >= until:  # also after a rewind: this speaker's sound is further than that
                break
            ready = self._ready(item, until - at)
            if item.is_open and ready < until - at:
                item.is_starved = item.placed_samples > 0
                break
            heard = item.reader.read(until - at)
            count = len(heard.model)
            item.is_starved = False
            item.placed_samples += count
            self._placed.append(_Placed(at, at + count, heard.output, item))
            pieces.append(heard.model)
            at += count
        self.pushed = max(self.pushed, until)
        return pieces

    def _ready(self, item: _Item, wanted: int) -> int:
        if item.is_open and item.is_starved:
            refilled = item.reader.prepare(self._rebuffer_samples)
            if refilled < self._rebuffer_samples:
                return 0
        return item.reader.prepare(wanted)

    def _waiting(self) -> list[_Item]:
        return [each for each in self._items if each.is_waiting]

    # ------------------------------------------------------------ playing

    def mix_into(self, sound: Sound, frame: int) -> None:
        """Add this speaker's sound of video frame `frame` to `sound` (1920,) at 48 kHz."""
        first = frame * SAMPLES_PER_FRAME
        for each in self._placed:
            start, stop = max(each.start, first), min(each.stop, first + SAMPLES_PER_FRAME)
            if start < stop:
                part = each.output[_output(start - each.start) : _output(stop - each.start)]
                sound[_output(start - first) : _output(stop - first)] += part

    def leave(self, frame: int, media_time_ms: int) -> list[ServerEvent]:
        """The events of this speaker when video frame `frame` and its sound have left."""
        first, last = frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME
        events: list[ServerEvent] = []
        for each in self._placed:
            heard = min(each.stop, last) - max(each.start, first)
            if each.item is None or heard <= 0:
                continue
            if each.item.played_samples == 0:
                started = OutputStarted(
                    item_id=each.item.id, speaker=self.speaker, media_time_ms=media_time_ms
                )
                events.append(started)
                self.state, changed = SpeakerState.SPEAKING, self.state is SpeakerState.IDLE
                events += self._announce() if changed else []
            each.item.played_samples += heard
        while self._placed and self._placed[0].stop <= last:
            self._placed.popleft()
        events += self._end_items() + self._status(frame)
        self._quiet_frames = 0 if self._is_talking() else self._quiet_frames + 1
        return events + self._state_event()

    def _is_talking(self) -> bool:
        return any(each.played_samples > 0 for each in self._items)

    def _end_items(self) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        while self._items and self._items[0].is_over:
            item = self._items.popleft()
            self._remember(item.id, cut=item.is_truncated)
            events.append(self._cleared(item) if item.is_truncated else self._stopped(item))
        return events

    # ------------------------------------------------------------ small parts

    def _check(self, item: _Item, data: bytes, pcm: PcmFormat) -> None:
        if len(item.head) < MP3_HEAD_BYTES:
            item.head += data[: MP3_HEAD_BYTES - len(item.head)]
            if item.placed_samples == 0:
                self._refused = item.id  # the middle of a file looks like any samples
                refuse_container(item.head)
                self._refused = None
        more = pcm.model_samples(len(data) // pcm.frame_bytes)
        if len(self._items) >= MAX_ITEMS or self.queued_samples + more > self._max_samples:
            raise ProtocolError(
                ErrorCode.BUFFER_FULL,
                f"found {more // SAMPLES_PER_MS} ms more for {self.speaker!r} on top of "
                f"{self.queued_samples // SAMPLES_PER_MS} ms, expected at most "
                f"{self._max_samples // SAMPLES_PER_MS} ms in {MAX_ITEMS} items held; send the "
                "rest when buffer.status reports room",
                "audio",
                retryable=True,
            )

    def _open_item(self) -> _Item | None:
        last = self._items[-1] if self._items else None
        return last if last is not None and last.is_open else None

    def _name(self, item_id: str | None) -> str:
        self._count += 1
        return item_id if item_id is not None else f"item_{self.speaker}_{self._count}"

    def _closed(self, item_id: str | None) -> ProtocolError:
        return ProtocolError(
            ErrorCode.ITEM_CLOSED,
            f"found audio for item {item_id!r} after its commit, expected an open item; "
            "open another one with a new item_id",
            "item_id",
        )

    def _remember(self, item_id: str, *, cut: bool) -> None:
        self._ended[item_id] = cut or self._ended.get(item_id, False)
        while len(self._ended) > REMEMBERED_IDS:
            self._ended.pop(next(iter(self._ended)))

    def _stopped(self, item: _Item) -> OutputStopped:
        return OutputStopped(item_id=item.id, speaker=self.speaker, audio_end_ms=item.audio_end_ms)

    def _cleared(self, item: _Item) -> OutputCleared:
        return OutputCleared(item_id=item.id, speaker=self.speaker, audio_end_ms=item.audio_end_ms)

    def _state_event(self) -> list[ServerEvent]:
        if self.state is SpeakerState.IDLE or self._quiet_frames < IDLE_AFTER_FRAMES:
            return []
        self.state = SpeakerState.IDLE
        return self._announce()

    def _announce(self) -> list[ServerEvent]:
        return [AvatarState(speaker=self.speaker, state=str(self.state))]

    def _high_water(self) -> list[ServerEvent]:
        queued = self.queued_samples
        if self._is_high or queued < HIGH_WATER * self._max_samples:
            return []
        self._is_high = True
        return [BufferHigh(speaker=self.speaker, queued_ms=queued // SAMPLES_PER_MS)]

    def _status(self, frame: int) -> list[ServerEvent]:
        """`buffer.status` twice a second while sound is queued, and when it has run down."""
        queued = self.queued_samples
        has_room = self._is_high and queued <= LOW_WATER * self._max_samples
        self._is_high = self._is_high and not has_room
        ran_down = queued == 0 and self._told_samples > 0
        if not has_room and not ran_down and (queued == 0 or frame % STATUS_EVERY_FRAMES):
            return []
        self._told_samples = queued
        return [BufferStatus(speaker=self.speaker, queued_ms=queued // SAMPLES_PER_MS)]


def _rest_of_file() -> ProtocolError:
    return ProtocolError(
        ErrorCode.CONTAINER_NOT_PCM,
        "found more of the file that was refused, expected little-endian PCM16 samples; commit or "
        "clear, then decode the file and send its samples",
        "audio",
    )


def _output(samples: int) -> int:
    return OUTPUT_PER_MODEL_SAMPLE * samples


def _faded(placed: _Placed, position: int) -> _Placed | None:
    """The fade of `placed` from `position` on, or None where it has no sound there."""
    stop = min(placed.stop, position + FADE_SAMPLES)
    if stop <= position:
        return None
    part = placed.output[_output(position - placed.start) : _output(stop - placed.start)]
    slope = np.linspace(1.0, 0.0, len(part), dtype=np.float32)
    return _Placed(position, stop, part * slope, None)


assert OUTPUT_SAMPLES_PER_FRAME == OUTPUT_PER_MODEL_SAMPLE * SAMPLES_PER_FRAME
