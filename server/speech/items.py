"""The items of one speaker: what is queued of each, and how those before them ended."""

from dataclasses import dataclass

from runtime.timing import SAMPLE_RATE
from server.speech.pcm import PcmReader

SAMPLES_PER_MS = SAMPLE_RATE // 1000
REMEMBERED_IDS = 256


@dataclass(slots=True)
class Item:
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
        unread = 0 if self.is_interrupted else self.reader.unread_samples
        return unread + self.placed_samples - self.played_samples

    @property
    def audio_end_ms(self) -> int:
        return self.played_samples // SAMPLES_PER_MS


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
