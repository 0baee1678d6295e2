"""The events of one session's WebSocket (subprotocol `avatar.v1`), both directions.

A client event is a JSON text message or a binary append; `parse_text` and `parse_binary` turn it
into one frozen dataclass or raise `ProtocolError`. A server event is a frozen dataclass whose
`to_json` is the text message, and `parse_server_event` is its inverse for clients. Names follow
the OpenAI Realtime API where it has one, and a voice model's own events may be sent unchanged.
Only the standard library is needed by this module, so that a client can use it alone.
"""

from server.protocol.client_events import (
    MAX_AUDIO_BYTES,
    PRESETS,
    Append,
    Box,
    ClearInput,
    ClearOutput,
    ClientEvent,
    Commit,
    EmotionUpdate,
    Ignored,
    Ping,
    SessionClose,
    SessionUpdate,
    SpeakerWish,
    WebrtcCandidate,
    WebrtcOffer,
    pack_binary_append,
    parse_binary,
    parse_text,
)
from server.protocol.fields import ErrorCode, ProtocolError
from server.protocol.server_events import (
    AvatarState,
    BufferHigh,
    BufferStatus,
    Error,
    InputCleared,
    InputCommitted,
    MetricsTick,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    Pong,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionDegraded,
    SessionQueued,
    SessionRecovered,
    SessionUpdated,
    SpeakerState,
    WebrtcAnswer,
    error_event,
    parse_server_event,
)

__all__ = [
    "MAX_AUDIO_BYTES",
    "PRESETS",
    "SECRET_SUBPROTOCOL_PREFIX",
    "SUBPROTOCOL",
    "Append",
    "AvatarState",
    "Box",
    "BufferHigh",
    "BufferStatus",
    "ClearInput",
    "ClearOutput",
    "ClientEvent",
    "Commit",
    "EmotionUpdate",
    "Error",
    "ErrorCode",
    "Ignored",
    "InputCleared",
    "InputCommitted",
    "MetricsTick",
    "OutputCleared",
    "OutputStarted",
    "OutputStopped",
    "Ping",
    "Pong",
    "ProtocolError",
    "ServerEvent",
    "SessionClose",
    "SessionClosed",
    "SessionCreated",
    "SessionDegraded",
    "SessionQueued",
    "SessionRecovered",
    "SessionUpdate",
    "SessionUpdated",
    "SpeakerState",
    "SpeakerWish",
    "WebrtcAnswer",
    "WebrtcCandidate",
    "WebrtcOffer",
    "error_event",
    "pack_binary_append",
    "parse_binary",
    "parse_server_event",
    "parse_text",
]

SUBPROTOCOL = "avatar.v1"
SECRET_SUBPROTOCOL_PREFIX = "avatar.secret."
"""A client secret or a session's resume secret is sent as a second subprotocol entry,
`avatar.secret.<value>`, so that it never stands in a URL or a log."""
