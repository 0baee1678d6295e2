"""One utterance of one speaker, from its first audio to its end; and the ids of ended ones."""

from dataclasses import dataclass

from runtime.timing import SAMPLE_RATE
from server.speech.containers import HEAD_BYTES, refuse_container
from server.speech.pcm import PcmReader

SAMPLES_PER_MS = SAMPLE_RATE // 1000
REMEMBERED_IDS = 256


@dataclass(slots=True)
class Item:
    """Counts are model samples (16 kHz): read and placed on the timeline, and played."""

    id: str
    reader: PcmReader
    is_open: bool = True
    is_interrupted: bool = False
    is_starved: bool = False
    placed_samples: int = 0
    played_samples: int = 0
    _head: bytes = b""

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

    def check_head(self, data: bytes) -> None:
        """Raise ProtocolError if the item's first bytes, `data` included, are an audio file's."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
            if self.placed_samples == 0:  # the middle of a file looks like any samples
                refuse_container(self._head)


class EndedItems:
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
