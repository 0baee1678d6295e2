"""When the sender played what: RTP timestamps placed on the sender's wall clock.

aiortc numbers the frames of each received track from 0, so that the offset between sound and
picture is lost. The sender's RTCP reports carry it (RFC 3550, 6.4.1): each pairs one RTP timestamp
with the sender's wall clock. Browsers synchronise lips by the same reports.
"""

from collections import deque
from dataclasses import dataclass, field

WRAP = 1 << 32  # RTP timestamps are 32 bits
MICROSECONDS = 1_000_000
KEPT_REPORTS = 64
ENOUGH_REPORTS = 2  # one may have been delayed by a busy sender


@dataclass(slots=True)
class StreamClock:
    """Maps pts of one received track (`rate` ticks a second, first frame = 0) to sender time."""

    rate: int
    first_timestamp: int | None = None
    _offsets_us: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_REPORTS))

    @property
    def is_known(self) -> bool:
        """Whether enough sender reports have come."""
        return len(self._offsets_us) >= ENOUGH_REPORTS

    def packet(self, timestamp: int) -> None:
        """Note an RTP packet; the first one's timestamp is pts 0."""
        if self.first_timestamp is None:
            self.first_timestamp = timestamp

    def report(self, ntp: int, timestamp: int) -> None:
        """Note a sender report: wall clock `ntp` (64 bits, 32.32) belongs to RTP `timestamp`."""
        if self.first_timestamp is None:
            return  # nothing received yet to which it could belong
        pts = (timestamp - self.first_timestamp + WRAP // 2) % WRAP - WRAP // 2
        wall_us = (ntp >> 32) * MICROSECONDS + ((ntp & 0xFFFFFFFF) * MICROSECONDS >> 32)
        self._offsets_us.append(wall_us - pts * MICROSECONDS // self.rate)

    def start_us(self) -> int:
        """Sender time of pts 0 in microseconds, by the report that was least delayed.

        A busy sender pairs a timestamp with the wall clock too late, never too early.

        Raises LookupError before the first report.
        """
        if not self._offsets_us:
            raise LookupError("no sender report has come yet; wait for one, they come each second")
        return min(self._offsets_us)

    def sent_us(self, pts: int) -> int:
        """Sender time of `pts` in microseconds."""
        return self.start_us() + pts * MICROSECONDS // self.rate
