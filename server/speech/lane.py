"""The speech of one speaker: items arrive, are placed on the stream's timeline, play, and end once.

Pure bookkeeping in model samples (16 kHz) of the timeline: video frame k covers the samples
[640 k, 640 (k + 1)). The tick scheduler takes speech up to where the next tick needs it
(`advance_to`). Playout mixes what was placed (`mix_into`) and reports each frame that leaves
(`frame_left`). Events go out through `emit`.
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from runtime.timing import SAMPLES_PER_FRAME
from runtime.values import Samples
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.outbox import Emit
from server.speech.announcer import Announcer
from server.speech.containers import HEAD_BYTES, refuse_container
from server.speech.items import SAMPLES_PER_MS, EndedItems, Item
from server.speech.pcm import PcmFormat, PcmReader
from server.speech.placed import Placed, mix
from server.speech.resampling import StreamPool

MAX_ITEMS = 400
"""Items held per speaker: a minute of one-word utterances."""
MAX_FORMAT_CHANGES = 32
"""Changes of the format among them: each may need resamplers of its own."""


class SpeakerLane:
    """The speech of one speaker, from arrival to the slice that carries it."""

    def __init__(self, speaker: str, max_buffer_ms: int, rebuffer_ms: int, emit: Emit) -> None:
        self.speaker = speaker
        self._announcer = Announcer(speaker, max_buffer_ms, emit)
        self._max_samples = max_buffer_ms * SAMPLES_PER_MS
        self._rebuffer_samples = rebuffer_ms * SAMPLES_PER_MS
        self._filled_until = 0  # of the timeline: the generator has this speaker's sound so far
        self._sound_until = -1  # of the timeline: end of the last placed sound
        self._items: deque[Item] = deque()
        self._placed: deque[Placed] = deque()
        self._ended = EndedItems()
        self._resamplers = StreamPool()
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
    def has_items(self) -> bool:
        """Whether an item has neither been played nor ended."""
        return bool(self._items)

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
            self._check_room(item, data, item.reader.pcm)
            item.reader.write(data)
            return
        if any(each.id == item_id for each in self._items):
            raise _closed(item_id)
        name = self._name(item_id)
        head = self._check_head(name, b"", data)
        self._check_room(None, data, pcm)
        item = Item(name, PcmReader(pcm, self._resamplers), head=head)
        item.reader.write(data)
        self._items.append(item)
        self._interrupted_open_item = False

    def commit(self, item_id: str | None) -> None:
        """Close the open item: no more audio of it will come."""
        self._refused = None
        item = self._open_item()
        if item is not None and item_id in (None, item.id):
            item.is_open, item.head = False, b""
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
            item.is_open, item.is_interrupted, item.head = False, True, b""
            item.reader = PcmReader(item.reader.pcm)
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
        tails = [each.cut(position) for each in self._placed if each.start <= position]
        self._placed = deque(tail for tail in tails if tail is not None)
        self._announcer.interrupted()

    # ------------------------------------------------------------ placing

    def can_fill(self, until: int) -> bool:
        """Whether the timeline can be filled up to `until` without a hole inside an open item."""
        missing = until - self._filled_until
        for number, item in enumerate(self._waiting()):
            if missing <= 0:
                break
            if item.is_open:  # the last one
                if number > 0:
                    return item.reader.holds(missing)
                return self._ready(item, missing) >= missing
            missing -= item.reader.unread_samples
        return True

    def advance_to(self, until: int) -> list[Samples]:
        """Place queued speech up to `until`; the model samples to push. The rest is silence.

        If an open item does not yet have enough audio for this tick, none of it is placed: a short
        gap is better than a chopped utterance.
        """
        pieces: list[Samples] = []
        at = self._filled_until
        waiting = self._waiting()
        readers = [item.reader for item in waiting]
        for number, item in enumerate(waiting):
            if at >= until:  # also after a rewind, if this speaker's sound goes on further
                break
            if item.is_open and self._ready(item, until - at) < until - at:
                item.is_starved = item.placed_samples > 0
                break
            pieces.append(self._place(item, at, until, readers[number + 1 :]))
            at += len(pieces[-1])
        self._filled_until = max(self._filled_until, until)
        return pieces

    def _place(self, item: Item, at: int, until: int, following: Sequence[PcmReader]) -> Samples:
        """Place the next sound of `item` at `at`, up to `until`; its model samples."""
        speech = item.reader.read(until - at, following)
        count = len(speech.model)
        piece = Placed(at, at + count, speech.output, item)
        begins = item.placed_samples == 0 and not item.reader.is_joined
        if begins and at == self._sound_until:  # right after sound that does not go on in it
            if self._placed:
                self._placed[-1] = self._placed[-1].faded_out()
            piece = piece.faded_in()
        self._sound_until = piece.stop
        item.is_starved, item.head = False, b""
        item.placed_samples += count
        self._placed.append(piece)
        return speech.model

    def resume_at(self, position: int) -> None:
        """After a rewind: new speech starts at `position` of the timeline."""
        self._filled_until = position

    def _ready(self, item: Item, wanted: int) -> int:
        if item.is_open and item.is_starved:
            refilled = item.reader.prepare(self._rebuffer_samples)
            if refilled < self._rebuffer_samples:
                return 0
        return item.reader.prepare(wanted)

    def _waiting(self) -> list[Item]:
        return [item for item in self._items if item.is_waiting]

    # ------------------------------------------------------------ playing

    def mix_into(self, sound: Samples, frame: int) -> None:
        """Add this speaker's sound of video frame `frame` to `sound` (1920,) at 48 kHz."""
        mix(self._placed, sound, frame)

    def frame_left(self, frame: int, media_time_ms: int) -> None:
        """Video frame `frame` and its sound leave, `media_time_ms` after the media began."""
        first, last = frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME
        is_heard = False
        for each in self._placed:
            played = each.within(frame)
            if each.item is None or played <= 0:
                continue
            is_heard = True
            if each.item.played_samples == 0:
                self._end_items()  # those without sound that lie before it
                offset_ms = max(each.start - first, 0) // SAMPLES_PER_MS
                self._announcer.started(each.item.id, media_time_ms + offset_ms)
            each.item.played_samples += played
            self._end_items()  # before the next one starts, in the same frame perhaps
        while self._placed and self._placed[0].stop <= last:
            self._placed.popleft()
        self._end_items()
        is_talking = is_heard or any(item.played_samples > 0 for item in self._items)
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

    def _check_room(self, item: Item | None, data: bytes, pcm: PcmFormat) -> None:
        """Raise buffer_full if `data` does not fit into the open item, or into a new one (None)."""
        queued = self.queued_samples
        more = pcm.model_samples(len(data) // pcm.frame_bytes)
        if more > self._max_samples:
            raise _longer_than_the_buffer(more, self._max_samples)
        problem = None if item is not None else self._item_problem(pcm)
        if queued + more > self._max_samples:
            problem = (
                f"{more // SAMPLES_PER_MS} ms of audio do not fit: "
                f"{queued // SAMPLES_PER_MS} ms wait, and at most "
                f"{self._max_samples // SAMPLES_PER_MS} ms are held"
            )
        if problem is not None:
            raise ProtocolError(
                ErrorCode.BUFFER_FULL,
                f"The queue of {self.speaker!r} is full: {problem}. Send the rest when "
                "buffer.status reports room.",
                "audio",
                retryable=True,
            )
        self._announcer.queue_grew((queued + more) // SAMPLES_PER_MS)

    def _item_problem(self, pcm: PcmFormat) -> str | None:
        """Why no item of this format can be added now, if so."""
        if len(self._items) >= MAX_ITEMS:
            return f"at most {MAX_ITEMS} items are held. Longer items hold more speech"
        formats = [each.reader.pcm for each in self._items] + [pcm]
        changes = sum(a != b for a, b in pairwise(formats))
        if changes > MAX_FORMAT_CHANGES:
            return f"at most {MAX_FORMAT_CHANGES} changes of the audio format are held"
        return None

    def _open_item(self) -> Item | None:
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


def _longer_than_the_buffer(samples: int, most: int) -> ProtocolError:
    return ProtocolError(
        ErrorCode.BUFFER_FULL,
        f"One append of {samples // SAMPLES_PER_MS} ms is longer than the whole queue, which holds "
        f"{most // SAMPLES_PER_MS} ms. Cut it into pieces of at most {most // SAMPLES_PER_MS} ms "
        "each, a second is usual, and pause on buffer.high until buffer.status.",
        "audio",
    )
