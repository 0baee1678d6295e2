"""How much of one kind of work somebody may ask for."""


class TokenBucket:
    """`burst` units at once, `rate` more each second. Pure: `now` is an argument, in seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def change(self, rate: float, burst: float) -> None:
        """Another rate and burst from now on; of what is left no more than `burst` stays."""
        self._rate, self._burst = rate, burst
        self._left = min(self._left, burst)

    def wait_s(self, now: float, units: float = 1.0) -> float:
        """How long until `units` may be taken; 0 if they may be taken now.

        More than `burst` may be taken when the bucket is full: later takers wait for them.
        """
        self._refill(now)
        missing = min(units, self._burst) - self._left
        return max(0.0, missing / self._rate)

    def take(self, now: float, units: float = 1.0) -> bool:
        """Take `units` if they may be taken now; whether they were."""
        if self.wait_s(now, units) > 0.0:
            return False
        self._left -= units
        return True

    def spend(self, now: float, units: float = 1.0) -> None:
        """Take `units` in any case; later takers wait until that is made up for."""
        self._refill(now)
        self._left -= units

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._burst, self._left + self._rate * max(0.0, now - self._at))
        self._at = now
