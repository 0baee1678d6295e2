"""The brake on guessing: wrong keys are answered slowly for each address, right ones always."""

import time
from collections.abc import Callable

from server.budget import TokenBucket

BURST = 10
"""Wrong keys that an address may show at once."""
REFILL_S = 6.0
"""Time after which it may show one more."""
MOST_ADDRESSES = 10_000


class WrongKeys:
    """Counts the wrong keys of each address; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowances: dict[str, TokenBucket] = {}

    def count(self, address: str) -> float:
        """Count one wrong key; how many seconds the address must wait, 0 if it need not."""
        # At its end again: the addresses that were silent for longest come first.
        allowance = self._allowances.pop(address, None) or TokenBucket(1 / REFILL_S, BURST)
        self._allowances[address] = allowance
        if len(self._allowances) > MOST_ADDRESSES:
            del self._allowances[next(iter(self._allowances))]
        now = self._clock()
        return 0.0 if allowance.take(now) else allowance.wait_s(now)
