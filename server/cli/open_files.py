"""How many files the process may have open, and how many it may need."""

import logging
import resource

from server.cli.connections import MAX_UNFINISHED

logger = logging.getLogger(__name__)

BASE_FILES, FILES_PER_SESSION = 100, 8
"""Of the server itself; a session has a socket and one for each network address."""


def check_open_files(max_sessions: int) -> None:
    """Warn if the process may have too few files open for that many sessions."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = BASE_FILES + MAX_UNFINISHED + FILES_PER_SESSION * max_sessions
    if allowed < needed:
        logger.warning(
            "this process may have %d files open, but %d sessions (limits.max_sessions) may need "
            "%d: raise the limit (ulimit -n, LimitNOFILE of systemd)",
            allowed,
            max_sessions,
            needed,
        )
