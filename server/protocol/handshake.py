"""How a socket opens and how it closes: subprotocols and close codes."""

from dataclasses import dataclass
from enum import IntEnum

SUBPROTOCOL = "avatar.v1"
SECRET_SUBPROTOCOL_PREFIX = "avatar.secret."
"""A client secret or a session's resume secret is sent as a second subprotocol entry,
`avatar.secret.<value>`, so that it never stands in a URL or a log."""


class CloseCode(IntEnum):
    """Why the server closed a socket: RFC 6455, section 7.4.1, and 4000-4999 for applications."""

    NORMAL = 1000
    GOING_AWAY = 1001
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    TRY_LATER = 1013
    TAKEN_OVER = 4001


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """When the server closes with a code, and what a client does then."""

    cause: str
    remedy: str


CLOSE_CODES: dict[CloseCode, CloseInfo] = {
    CloseCode.NORMAL: CloseInfo(
        "The session ended; `session.closed` came before it.",
        "Open a new session if you need one.",
    ),
    CloseCode.GOING_AWAY: CloseInfo(
        "The server ends: it shuts down, or its model failed; `session.closed` came before it.",
        "Open a new session when the server is back.",
    ),
    CloseCode.INVALID_TEXT: CloseInfo(
        "A text message is not UTF-8. The session may be taken up again.",
        "Send JSON as UTF-8, and audio as binary messages.",
    ),
    CloseCode.POLICY: CloseInfo(
        "The session was refused (a fatal `error` came before it), events were not read within "
        "20 s, or the client sent too many pings or fragments (the close frame says which).",
        "Read the error. Read events as they come.",
    ),
    CloseCode.TOO_LARGE: CloseInfo(
        "A message has more than `limits.max_message_bytes`, or 64 kB before `session.created`. An "
        "`error` with `message_too_large` came before it. The session may be taken up again.",
        "Send speech in smaller pieces, after `session.created`.",
    ),
    CloseCode.TRY_LATER: CloseInfo(
        "All sessions and all places in the queue are taken, the model is still loading, or the "
        "server is shutting down.",
        "Try again later.",
    ),
    CloseCode.TAKEN_OVER: CloseInfo(
        "Another socket took the session over with its id and secret.",
        "Do not reconnect from this one.",
    ),
}
