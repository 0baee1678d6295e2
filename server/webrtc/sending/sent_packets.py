"""What was sent of one RTP stream, so that a receiver report tells what became of it."""

from collections import deque
from dataclasses import dataclass

KEPT = 2_048  # packets; seconds of the fastest video, 40 s of sound
HALF, WHOLE = 2**15, 2**16
LEAST_INTERVAL_S = 0.4


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at: float
    size: int


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


class Arrivals:
    """How fast a network delivers, seen over all streams: what was sent before a packet that
    arrived has arrived too, or is lost.
    """

    def __init__(self) -> None:
        self.bps = 0.0
        """Between reports at least `LEAST_INTERVAL_S` apart."""
        self._sent: deque[tuple[float, int]] = deque()
        self._arrived = 0
        self._reported: tuple[float, int] | None = None

    def add(self, size: int, now: float) -> None:
        self._sent.append((now, size))
        self._reported = self._reported or (now, 0)

    def note(self, until: float, loss: float, now: float) -> None:
        """A report shows that the network is through with what was sent up to `until`."""
        while self._sent and self._sent[0][0] <= until:
            self._arrived += self._sent.popleft()[1]
        before = self._reported
        if before is not None and now - before[0] < LEAST_INTERVAL_S:
            return
        if before is not None:
            self.bps = 8 * (self._arrived - before[1]) * (1 - loss) / (now - before[0])
        self._reported = (now, self._arrived)


class SentPackets:
    """The latest packets of one stream. Numbers are 16 bits, as in RTP, and wrap."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=KEPT)
        self._reported = 0

    def add(self, number: int, size: int, now: float) -> None:
        self._sent.append(_Sent(number, now, size))

    def size_of(self, number: int) -> int | None:
        """The bytes of a packet, None if it is not known any more."""
        found = self._find(number)
        return None if found is None else self._sent[found].size

    def arrived(self, newest: int) -> tuple[float, int] | None:
        """A report says that `newest` arrived: when it was sent, and how many packets went out
        since the report before. None if that packet is not known any more.
        """
        place = self._find(newest % WHOLE)
        if place is None:
            return None
        packets = (newest - self._reported) % WHOLE
        self._reported = newest
        return self._sent[place].at, min(packets, len(self._sent))

    def first_after(self, at: float) -> float | None:
        """When the first packet after a time was sent."""
        after = None
        for packet in reversed(self._sent):
            if packet.at <= at:
                break
            after = packet.at
        return after

    def _find(self, number: int) -> int | None:
        """Numbers rise by one from packet to packet, so the place follows from the newest."""
        if not self._sent:
            return None
        back = (self._sent[-1].number - number) % WHOLE
        return len(self._sent) - 1 - back if back < min(HALF, len(self._sent)) else None
