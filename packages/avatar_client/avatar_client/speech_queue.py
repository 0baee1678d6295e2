"""How much of one speaker's speech waits on the server: pure bookkeeping, `now_s` is given."""

from dataclasses import dataclass


@dataclass(slots=True)
class SpeechQueue:
    """Seconds sent and not yet played, by what was sent and what the server's events said."""

    _sent_s: float = 0.0
    _ended_s: float = 0.0
    _told_s: float = 0.0  # played, by the server's latest word on what waits
    _playing_since_s: float | None = None

    def sent(self, seconds: float) -> None:
        self._sent_s += seconds

    def started(self, now_s: float) -> None:
        """An item is heard from now on."""
        self._playing_since_s = now_s

    def ended(self, played_s: float) -> None:
        """The item that was heard was played to its end, `played_s` of it."""
        self._ended_s += played_s
        self._playing_since_s = None

    def told(self, queued_s: float) -> None:
        """The server holds `queued_s`, of what had reached it by then."""
        self._told_s = self._sent_s - queued_s

    def cut(self) -> None:
        """Everything that waited was dropped."""
        self._sent_s = self._ended_s = self._told_s = 0.0
        self._playing_since_s = None

    def waiting_s(self, now_s: float) -> float:
        """What waits now, or a little more.

        Nothing is counted as played before the server says that it is heard, then no more than
        the time since, as a late server holds the sound, and no more than its word on what waits.
        """
        if self._playing_since_s is None:
            heard_s = 0.0
        else:
            heard_s = min(now_s - self._playing_since_s, max(0.0, self._told_s - self._ended_s))
        return max(0.0, self._sent_s - self._ended_s - heard_s)
