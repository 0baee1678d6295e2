"""What was sent of one RTP stream, so that a receiver report tells what became of it."""

from collections import deque
from dataclasses import dataclass

KEPT = 2_048  # packets; seconds of the fastest video, 40 s of sound
HALF, WHOLE = 2**15, 2**16
LEAST_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at: float
    size: int
    bytes_before: int


class Throughput:
    """Bits a second in about the last second."""

    def __init__(self) -> None:
        self._added: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, size: int, now: float) -> None:
        self._added.append((now, size))
        self._total += size

    def bps(self, now: float) -> float:
        while self._added and now - self._added[0][0] > 1.0:
            self._total -= self._added.popleft()[1]
        return 8.0 * self._total


class SentPackets:
    """The latest packets of one stream. Numbers are 16 bits, as in RTP, and wrap."""

    def __init__(self) -> None:
        self.arrived_bps = 0.0
        """What arrived, bits a second, between the latest two receiver reports."""
        self._sent: deque[_Sent] = deque(maxlen=KEPT)
        self._reported: tuple[float, _Sent] | None = None

    def add(self, number: int, size: int, now: float) -> None:
        total = self._sent[-1].bytes_before + self._sent[-1].size if self._sent else 0
        self._sent.append(_Sent(number, now, size, total))

    def size_of(self, number: int) -> int | None:
        """The bytes of a packet, None if it is not known any more."""
        found = self._find(number)
        return None if found is None else self._sent[found].size

    def reported(self, newest: int, lost_share: float, now: float) -> tuple[float | None, int]:
        """A report says that `newest` arrived: the age of the packet after it (None if there is
        none), and how many packets went out since the report before.
        """
        place = self._find(newest % WHOLE)
        if place is None:
            return None, 0
        packet = self._sent[place]
        packets = self._note_arrived(packet, lost_share, now)
        waiting = place + 1 < len(self._sent)
        return (now - self._sent[place + 1].at if waiting else None), packets

    def _note_arrived(self, packet: _Sent, lost_share: float, now: float) -> int:
        if self._reported is None:
            self._reported = (now, packet)
            return 0
        before_at, before = self._reported
        if now - before_at >= LEAST_INTERVAL_S:
            size = packet.bytes_before - before.bytes_before
            self.arrived_bps = max(0.0, 8 * size * (1 - lost_share) / (now - before_at))
            self._reported = (now, packet)
        return (packet.number - before.number) % WHOLE

    def _find(self, number: int) -> int | None:
        """Numbers rise by one from packet to packet, so the place follows from the newest."""
        if not self._sent:
            return None
        back = (self._sent[-1].number - number) % WHOLE
        return len(self._sent) - 1 - back if back < min(HALF, len(self._sent)) else None
