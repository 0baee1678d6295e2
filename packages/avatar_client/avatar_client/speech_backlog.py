"""How much of one speaker's speech the server still holds. Pure bookkeeping: `now_s` is given."""

from dataclasses import dataclass


@dataclass(slots=True)
class SpeechBacklog:
    """Seconds sent and not yet played, from what was sent and from the server's events."""

    _sent_s: float = 0.0
    _ended_s: float = 0.0
    _reported_s: float = 0.0  # played, by the server's latest report of what it holds
    _playing_since_s: float | None = None

    def sent(self, seconds: float) -> None:
        """Another `seconds` of speech went to the server."""
        self._sent_s += seconds

    def started(self, now_s: float) -> None:
        """An item started to play."""
        self._playing_since_s = now_s

    def ended(self, played_s: float) -> None:
        """The playing item ended after `played_s` of it."""
        self._ended_s += played_s
        self._playing_since_s = None

    def reported(self, queued_s: float) -> None:
        """The server reported that it holds `queued_s` of what had reached it by then."""
        self._reported_s = self._sent_s - queued_s

    def clear(self) -> None:
        """An interruption dropped everything that the server held."""
        self._sent_s = self._ended_s = self._reported_s = 0.0
        self._playing_since_s = None

    def waiting_s(self, now_s: float) -> float:
        """Seconds that the server holds now: an upper bound.

        Nothing counts as played before the server reports a start. After that no more than the
        time since the start counts, and no more than the server's own report: a late server holds
        the sound back.
        """
        if self._playing_since_s is None:
            played_s = 0.0
        else:
            played_s = min(
                now_s - self._playing_since_s, max(0.0, self._reported_s - self._ended_s)
            )
        return max(0.0, self._sent_s - self._ended_s - played_s)
