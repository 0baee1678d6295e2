"""The brake on guessing: wrong keys are answered slowly for each address, right ones always."""

import time
from collections.abc import Callable
from dataclasses import dataclass

BURST = 10
"""Wrong keys that an address may show at once."""
REFILL_S = 6.0
"""Time after which it may show one more."""
MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Allowance:
    left: float
    at_s: float


class WrongKeys:
    """Counts the wrong keys of each address; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowances: dict[str, _Allowance] = {}

    def count(self, address: str) -> float:
        """Count one wrong key; how many seconds the address must wait, 0 if it need not."""
        now = self._clock()
        allowance = self._allowances.pop(address, None) or _Allowance(BURST, now)
        left = min(BURST, allowance.left + (now - allowance.at_s) / REFILL_S)
        wait_s = 0.0 if left >= 1 else (1 - left) * REFILL_S
        # At its end again: the addresses that were silent for longest come first.
        self._allowances[address] = _Allowance(left if wait_s else left - 1, now)
        if len(self._allowances) > MOST_ADDRESSES:
            del self._allowances[next(iter(self._allowances))]
        return wait_s
