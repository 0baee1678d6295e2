"""What a client may ask of a sender: packets again, key frames, and how often it may speak.

Pure: no clock is read here, `now` is an argument.
"""

from collections.abc import Callable, Iterable
from itertools import islice

from server.budget import TokenBucket

LARGEST_REQUEST = 128
"""Entries of one request that are looked at: aiortc keeps as many packets for sending again."""
FIRST_BPS = 100_000
LEAST_BETWEEN_S = 0.05
KEY_FRAME_EVERY_S = 0.5
BURST_S = 0.5
"""Retransmissions that may go out at once, as a share of a second's budget."""


class Retransmissions:
    """Which of the packets asked for are sent again: each once per round trip, within a budget."""

    def __init__(self) -> None:
        self.sent = 0
        self.refused = 0
        self._budget = TokenBucket(FIRST_BPS / 8, FIRST_BPS / 8 * BURST_S)  # of bytes
        self._again_at: dict[int, float] = {}

    def accept(
        self,
        asked: Iterable[int],
        size_of: Callable[[int], int | None],
        rtt_s: float,
        bps: float,
        now: float,
    ) -> list[int]:
        """The packets to send again. `size_of` a packet is None if it is not kept; `bps` is what
        all retransmissions may use.
        """
        burst = bps / 8 * BURST_S
        self._budget.change(bps / 8, burst)
        self._forget(now)
        accepted = []
        for number in islice(asked, LARGEST_REQUEST):
            size = size_of(number)
            if size is None or now < self._again_at.get(number, now):
                continue
            if size > burst or not self._budget.take(now, size):
                self.refused += 1
                break
            self._again_at[number] = now + max(rtt_s, LEAST_BETWEEN_S)
            accepted.append(number)
        self.sent += len(accepted)
        return accepted

    def _forget(self, now: float) -> None:
        if len(self._again_at) > 4 * LARGEST_REQUEST:
            self._again_at = {k: at for k, at in self._again_at.items() if at > now}


class KeyFrames:
    """Key frames that are asked for: the first at once, then few; none is forgotten."""

    def __init__(self) -> None:
        self.asked = 0
        self._is_wanted = False
        self._next_at = 0.0

    def ask(self) -> None:
        self.asked += 1
        self._is_wanted = True

    def take(self, now: float) -> bool:
        """Whether the next picture has to be a key frame."""
        if not self._is_wanted or now < self._next_at:
            return False
        self._is_wanted = False
        self._next_at = now + KEY_FRAME_EVERY_S
        return True
