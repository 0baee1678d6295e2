"""How many packets a client may make the server send to addresses that never answer."""

from server.budget import TokenBucket

CHECKS_AT_ONCE = 40
CHECKS_PER_S = 0.2
"""To one host. aioice repeats each check six times; a peer that is there answers the first."""
ALL_AT_ONCE = 600
ALL_PER_S = 5.0
"""To all hosts together: three offers of 32 candidates, none of which answers."""
MAX_HOSTS = 1_024


class CheckBudget:
    """The checks of one session, over all of its peers. Pure: `now` is an argument, in seconds.

    A host that answered a check takes part in the connection, and is not limited any more.
    """

    def __init__(self) -> None:
        self._all = TokenBucket(ALL_PER_S, ALL_AT_ONCE)
        self._silent: dict[str, TokenBucket] = {}
        self._answered: set[str] = set()

    def take(self, host: str, now: float) -> bool:
        """Whether one more check may go to `host`."""
        if host in self._answered:
            return True
        if host not in self._silent:
            if len(self._silent) >= MAX_HOSTS:
                return False
            self._silent[host] = TokenBucket(CHECKS_PER_S, CHECKS_AT_ONCE)
        return self._silent[host].take(now) and self._all.take(now)

    def answered(self, host: str) -> None:
        """A check of ours came to `host`, and back."""
        if len(self._answered) < MAX_HOSTS:
            self._silent.pop(host, None)
            self._answered.add(host)
