"""What the log says of refused WebSockets: a line each, and few lines in a flood."""

import logging
import time
from collections.abc import Callable, Mapping

from server.protocol.errors import ProtocolError
from server.protocol.public_text import without_folders

logger = logging.getLogger(__name__)

LINES = 20
WINDOW_S = 60.0


class RefusalLog:
    """Warns of refused handshakes, LINES times in WINDOW_S; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._count = 0

    def warn(self, headers: Mapping[str, str], address: str, reason: ProtocolError) -> None:
        """One line with who came, from which page, to which name, and what to do."""
        now = self._clock()
        if now - self._since >= WINDOW_S:
            if self._count > LINES:
                logger.warning("%d more WebSockets were refused", self._count - LINES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > LINES:
            return
        logger.warning(
            "refused a WebSocket from %s (origin %s, host %s): %s",
            ascii(address),
            ascii(headers.get("origin", "")[:200]),
            ascii(headers.get("host", "")[:200]),
            without_folders(str(reason)),
        )
