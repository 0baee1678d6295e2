"""What the server says: one frozen dataclass an event; `to_json` and `parse_server_event`."""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from server.protocol.fields import ErrorCode, Fields, ProtocolError


class SpeakerState(StrEnum):
    IDLE = "idle"
    SPEAKING = "speaking"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event for the client. Fields that are None are left out of the message."""

    type: ClassVar[str]

    def to_json(self) -> str:
        fields = dataclasses.asdict(self)
        kept = {name: value for name, value in fields.items() if value is not None}
        # Only ASCII: a client's half surrogate, echoed in an error, is no UTF-8.
        return json.dumps({"type": self.type} | kept, allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(ServerEvent):
    """What was really granted. `resume_secret` takes the session up again after a lost socket."""

    type: ClassVar[str] = "session.created"
    session_id: str
    character: str
    speakers: list[dict[str, Any]]
    video: dict[str, int]
    audio: dict[str, Any]
    preset: str
    latency: dict[str, int]
    ice_servers: list[dict[str, Any]]
    capabilities: dict[str, Any]
    resume_secret: str
    resume_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(SessionCreated):
    type: ClassVar[str] = "session.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQueued(ServerEvent):
    type: ClassVar[str] = "session.queued"
    position: int
    eta_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcAnswer(ServerEvent):
    type: ClassVar[str] = "webrtc.answer"
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCommitted(ServerEvent):
    type: ClassVar[str] = "input_audio_buffer.committed"
    item_id: str
    speaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCleared(ServerEvent):
    type: ClassVar[str] = "input_audio_buffer.cleared"
    speaker: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStarted(ServerEvent):
    """The first audible slice of the item left, `media_time_ms` after the media began."""

    type: ClassVar[str] = "output_audio_buffer.started"
    item_id: str
    speaker: str
    media_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStopped(ServerEvent):
    type: ClassVar[str] = "output_audio_buffer.stopped"
    item_id: str
    speaker: str
    audio_end_ms: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCleared(ServerEvent):
    type: ClassVar[str] = "output_audio_buffer.cleared"
    item_id: str
    speaker: str
    audio_end_ms: int
    interrupted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarState(ServerEvent):
    type: ClassVar[str] = "avatar.state"
    speaker: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStatus(ServerEvent):
    type: ClassVar[str] = "buffer.status"
    speaker: str
    queued_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferHigh(BufferStatus):
    type: ClassVar[str] = "buffer.high"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDegraded(ServerEvent):
    type: ClassVar[str] = "session.degraded"
    reason: str
    rtf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecovered(SessionDegraded):
    type: ClassVar[str] = "session.recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTick(ServerEvent):
    """One tick's stage times in milliseconds, and the state of the buffers after it."""

    type: ClassVar[str] = "metrics.tick"
    stages: dict[str, float]
    frames: int
    lead_ms: int
    rtf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(ServerEvent):
    type: ClassVar[str] = "pong"
    event_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(ServerEvent):
    type: ClassVar[str] = "session.closed"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(ServerEvent):
    """`error` has type, code, message, param and event_id; only type `fatal` ends the session."""

    type: ClassVar[str] = "error"
    error: dict[str, Any]
    retryable: bool = False


def error_event(reason: ProtocolError, kind: str = "invalid_request_error") -> Error:
    """The error event that tells a client about `reason`."""
    error = {
        "type": kind,
        "code": str(reason.code),
        "message": str(reason),
        "param": reason.param,
        "event_id": reason.event_id,
    }
    return Error(error=error, retryable=reason.retryable)


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    kind.type: kind
    for kind in (
        *(SessionCreated, SessionUpdated, SessionQueued, SessionClosed, WebrtcAnswer, Pong),
        *(InputCommitted, InputCleared, OutputStarted, OutputStopped, OutputCleared, AvatarState),
        *(BufferStatus, BufferHigh, SessionDegraded, SessionRecovered, MetricsTick, Error),
    )
}


def parse_server_event(text: str) -> ServerEvent:
    """The server event in one text message; fields that this version does not know are dropped."""
    fields = Fields.from_json(text)
    kind = SERVER_EVENTS.get(fields.type)
    if kind is None:
        raise fields.error(ErrorCode.UNKNOWN_EVENT, f"unknown server event {fields.type!r}", "type")
    known = {field.name for field in dataclasses.fields(kind)}
    try:
        return kind(**{name: value for name, value in fields.values.items() if name in known})
    except TypeError as reason:
        raise fields.error(ErrorCode.MISSING_FIELD, f"{fields.type}: {reason}", None) from None
