"""The speech of one speaker: items arrive, are placed on the stream's timeline, play, and end once.

Pure bookkeeping in model samples (16 kHz) of the timeline: video frame k covers the samples
[640 k, 640 (k + 1)). The tick scheduler takes speech up to where the next tick needs it
(`advance_to`). Playout mixes what was placed (`mix_into`) and reports each frame that leaves
(`frame_left`). Events go out through `emit`.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from runtime.timing import OUTPUT_SAMPLES_PER_FRAME, SAMPLE_RATE, SAMPLES_PER_FRAME
from runtime.values import Samples
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Emit
from server.speech.announcer import Announcer
from server.speech.containers import HEAD_BYTES, refuse_container
from server.speech.pcm import OUTPUT_PER_MODEL_SAMPLE, PcmFormat, PcmReader

SAMPLES_PER_MS = SAMPLE_RATE // 1000
REMEMBERED_IDS = 256
FADE_SAMPLES = 80
"""Interrupted sound fades out over 5 ms, so that it does not click."""
MAX_ITEMS = 1000


@dataclass(slots=True)
class _Item:
    """One utterance; counts are model samples (16 kHz): placed on the timeline, and played."""

    id: str
    reader: PcmReader
    is_open: bool = True
    is_interrupted: bool = False
    is_starved: bool = False
    placed_samples: int = 0
    played_samples: int = 0
    head: bytes = b""

    @property
    def is_over(self) -> bool:
        all_placed = self.is_interrupted or not (self.is_open or self.reader.unread_samples)
        return all_placed and self.played_samples == self.placed_samples

    @property
    def is_waiting(self) -> bool:
        """Whether some of it may still be placed."""
        return not self.is_interrupted and (self.is_open or self.reader.unread_samples > 0)

    @property
    def queued_samples(self) -> int:
        """Samples that arrived and were not played yet."""
        return self.reader.unread_samples + self.placed_samples - self.played_samples

    @property
    def audio_end_ms(self) -> int:
        return self.played_samples // SAMPLES_PER_MS


class _EndedItems:
    """Ids of the last items that ended, and whether the client interrupted them."""

    def __init__(self) -> None:
        self._interrupted: dict[str, bool] = {}

    def __contains__(self, item_id: str | None) -> bool:
        return item_id in self._interrupted

    def was_interrupted(self, item_id: str | None) -> bool:
        return self._interrupted.get(item_id or "", False)

    def add(self, item_id: str, *, interrupted: bool) -> None:
        self._interrupted[item_id] = interrupted or self.was_interrupted(item_id)
        while len(self._interrupted) > REMEMBERED_IDS:
            self._interrupted.pop(next(iter(self._interrupted)))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A piece of an item's sound at [start, stop) of the timeline; three output samples each."""

    start: int
    stop: int
    output: Samples
    item: _Item | None


class SpeakerLane:
    """The speech of one speaker, from arrival to the slice that carries it."""

    def __init__(self, speaker: str, max_buffer_ms: int, rebuffer_ms: int, emit: Emit) -> None:
        self.speaker = speaker
        self._announcer = Announcer(speaker, max_buffer_ms, emit)
        self._max_samples = max_buffer_ms * SAMPLES_PER_MS
        self._rebuffer_samples = rebuffer_ms * SAMPLES_PER_MS
        self._filled_until = 0  # of the timeline: the generator has this speaker's sound so far
        self._items: deque[_Item] = deque()
        self._placed: deque[_Placed] = deque()
        self._ended = _EndedItems()
        self._count = 0
        self._interrupted_open_item = False
        self._refused: str | None = None  # the item that turned out to be a file

    # ------------------------------------------------------------ arriving

    @property
    def queued_samples(self) -> int:
        """Samples that arrived and were not played yet."""
        return sum(item.queued_samples for item in self._items)

    @property
    def has_open_item(self) -> bool:
        return self._open_item() is not None

    @property
    def has_unplaced(self) -> bool:
        return any(item.reader.unread_samples > 0 for item in self._items)

    @property
    def placed_until(self) -> int:
        """End of the last placed sound on the timeline, in samples; 0 if all was played."""
        return self._placed[-1].stop if self._placed else 0

    def append(self, data: bytes, item_id: str | None, pcm: PcmFormat) -> None:
        """Add bytes to the open item, or open one; only a new item uses `pcm`.

        Raises ProtocolError: item_closed, buffer_full, container_not_pcm.
        """
        if self._refused is not None and item_id in (None, self._refused):
            raise _rest_of_file()
        self._refused = None
        if item_id in self._ended:
            if self._ended.was_interrupted(item_id):
                return  # late audio of an interrupted item
            raise _closed(item_id)
        item = self._open_item()
        if item is not None and item_id is not None and item.id != item_id:
            self.commit(None)
            item = None
        if item is not None:
            if item.placed_samples == 0:
                item.head = self._check_head(item.id, item.head, data)
            self._write(item, data, pcm)
            return
        if any(each.id == item_id for each in self._items):
            raise _closed(item_id)
        name = self._name(item_id)
        head = self._check_head(name, b"", data)
        item = _Item(name, PcmReader(pcm), head=head)
        self._write(item, data, pcm)
        self._items.append(item)
        self._interrupted_open_item = False

    def commit(self, item_id: str | None) -> None:
        """Close the open item: no more audio of it will come."""
        self._refused = None
        item = self._open_item()
        if item is not None and item_id in (None, item.id):
            item.is_open = False
            item.reader.finish()
            self._announcer.committed(item.id)
        elif (item_id is None and self._interrupted_open_item) or self._ended.was_interrupted(
            item_id
        ):
            self._interrupted_open_item = False  # the commit crossed the item's interruption
        else:
            named = f" {item_id!r}" if item_id else ""
            raise ProtocolError(
                ErrorCode.EMPTY_COMMIT,
                f"There is no open item{named} of the speaker {self.speaker!r} to commit. Append "
                "audio before the commit.",
                "item_id" if item_id else None,
            )

    def clear_input(self) -> None:
        """Drop audio that is not placed yet. Placed audio plays; its item ends as interrupted."""
        self._refused = None
        waiting = [item for item in self._items if item.is_waiting]
        for item in waiting:
            self._interrupted_open_item |= item.is_open
            item.is_open, item.is_interrupted = False, True
            item.reader = PcmReader(PcmFormat())
            self._ended.add(item.id, interrupted=True)
            self._announcer.input_cleared(item.id)
        if not waiting:
            self._announcer.input_cleared(None)
        self._end_items()

    def interrupt(self, position: int) -> None:
        """Silence this speaker from sample `position` of the timeline on; all items end."""
        self._refused = None
        for item in self._items:
            self._interrupted_open_item |= item.is_open
            self._ended.add(item.id, interrupted=True)
            self._announcer.ended(item.id, item.audio_end_ms, interrupted=True)
        self._items.clear()
        tails = [_fade_out(each, position) for each in self._placed if each.start <= position]
        self._placed = deque(tail for tail in tails if tail is not None)
        self._announcer.interrupted()

    # ------------------------------------------------------------ placing

    def can_fill(self, until: int) -> bool:
        """Whether the timeline can be filled up to `until` without a hole inside an open item."""
        missing = until - self._filled_until
        for item in self._waiting():
            if missing <= 0:
                break
            ready = self._ready(item, missing)
            if item.is_open and ready < missing:
                return False
            missing -= ready
        return True

    def advance_to(self, until: int) -> list[Samples]:
        """Place queued speech up to `until`; the model samples to push. The rest is silence.

        If an open item does not yet have enough audio for this tick, none of it is placed: a short
        gap is better than a chopped utterance.
        """
        pieces: list[Samples] = []
        at = self._filled_until
        for item in self._waiting():
            if at >= until:  # also after a rewind, if this speaker's sound goes on further
                break
            ready = self._ready(item, until - at)
            if item.is_open and ready < until - at:
                item.is_starved = item.placed_samples > 0
                break
            speech = item.reader.read(until - at)
            count = len(speech.model)
            item.is_starved = False
            item.placed_samples += count
            self._placed.append(_Placed(at, at + count, speech.output, item))
            pieces.append(speech.model)
            at += count
        self._filled_until = max(self._filled_until, until)
        return pieces

    def resume_at(self, position: int) -> None:
        """After a rewind: new speech starts at `position` of the timeline."""
        self._filled_until = position

    def _ready(self, item: _Item, wanted: int) -> int:
        if item.is_open and item.is_starved:
            refilled = item.reader.prepare(self._rebuffer_samples)
            if refilled < self._rebuffer_samples:
                return 0
        return item.reader.prepare(wanted)

    def _waiting(self) -> list[_Item]:
        return [item for item in self._items if item.is_waiting]

    # ------------------------------------------------------------ playing

    def mix_into(self, sound: Samples, frame: int) -> None:
        """Add this speaker's sound of video frame `frame` to `sound` (1920,) at 48 kHz."""
        first = frame * SAMPLES_PER_FRAME
        for each in self._placed:
            start, stop = max(each.start, first), min(each.stop, first + SAMPLES_PER_FRAME)
            if start < stop:
                part = each.output[_output(start - each.start) : _output(stop - each.start)]
                sound[_output(start - first) : _output(stop - first)] += part

    def frame_left(self, frame: int, media_time_ms: int) -> None:
        """Video frame `frame` and its sound leave, `media_time_ms` after the media began."""
        first, last = frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME
        for each in self._placed:
            played = min(each.stop, last) - max(each.start, first)
            if each.item is not None and played > 0:
                if each.item.played_samples == 0:
                    self._announcer.started(each.item.id, media_time_ms)
                each.item.played_samples += played
        while self._placed and self._placed[0].stop <= last:
            self._placed.popleft()
        self._end_items()
        is_talking = any(item.played_samples > 0 for item in self._items)
        queued_ms = self.queued_samples // SAMPLES_PER_MS
        self._announcer.frame_left(frame, queued_ms, is_talking=is_talking)

    def _end_items(self) -> None:
        while self._items and self._items[0].is_over:
            item = self._items.popleft()
            self._ended.add(item.id, interrupted=item.is_interrupted)
            self._announcer.ended(item.id, item.audio_end_ms, interrupted=item.is_interrupted)

    # ------------------------------------------------------------ small parts

    def _check_head(self, item_id: str, head: bytes, data: bytes) -> bytes:
        """The item's first bytes, `data` included; ProtocolError if they are an audio file's.

        Only checked before any of it is placed: the middle of a file looks like any samples.
        """
        if len(head) < HEAD_BYTES:
            head += data[: HEAD_BYTES - len(head)]
            self._refused = item_id
            refuse_container(head)
            self._refused = None
        return head

    def _write(self, item: _Item, data: bytes, pcm: PcmFormat) -> None:
        queued = self.queued_samples
        more = pcm.model_samples(len(data) // pcm.frame_bytes)
        if more > self._max_samples:
            raise ProtocolError(
                ErrorCode.BUFFER_FULL,
                f"One append holds {more // SAMPLES_PER_MS} ms of audio for {self.speaker!r}, but "
                f"never more than {self._max_samples // SAMPLES_PER_MS} ms are held. Cut it into "
                "pieces, and send each when buffer.status reports room.",
                "audio",
            )
        if len(self._items) >= MAX_ITEMS or queued + more > self._max_samples:
            raise ProtocolError(
                ErrorCode.BUFFER_FULL,
                f"{more // SAMPLES_PER_MS} ms of audio for {self.speaker!r} do not fit: "
                f"{queued // SAMPLES_PER_MS} ms wait, and at most "
                f"{self._max_samples // SAMPLES_PER_MS} ms in {MAX_ITEMS} items are held. Send the "
                "rest when buffer.status reports room.",
                "audio",
                retryable=True,
            )
        item.reader.write(data)
        self._announcer.queue_grew((queued + more) // SAMPLES_PER_MS)

    def _open_item(self) -> _Item | None:
        last = self._items[-1] if self._items else None
        return last if last is not None and last.is_open else None

    def _name(self, item_id: str | None) -> str:
        self._count += 1
        return item_id if item_id is not None else f"item_{self.speaker}_{self._count}"


def _closed(item_id: str | None) -> ProtocolError:
    return ProtocolError(
        ErrorCode.ITEM_CLOSED,
        f"The item {item_id!r} is committed; it takes no more audio. Use a new item_id.",
        "item_id",
    )


def _rest_of_file() -> ProtocolError:
    return ProtocolError(
        ErrorCode.CONTAINER_NOT_PCM,
        "This is more of the file that was refused. Commit or clear, then decode the file and send "
        "little-endian PCM16 samples.",
        "audio",
    )


def _output(samples: int) -> int:
    return OUTPUT_PER_MODEL_SAMPLE * samples


def _fade_out(placed: _Placed, position: int) -> _Placed | None:
    """The fade of `placed` from `position` on; None if it has no sound there."""
    stop = min(placed.stop, position + FADE_SAMPLES)
    if stop <= position:
        return None
    part = placed.output[_output(position - placed.start) : _output(stop - placed.start)]
    slope = np.linspace(1.0, 0.0, len(part), dtype=np.float32)
    return _Placed(position, stop, part * slope, None)


assert OUTPUT_SAMPLES_PER_FRAME == OUTPUT_PER_MODEL_SAMPLE * SAMPLES_PER_FRAME
