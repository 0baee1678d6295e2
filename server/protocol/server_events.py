"""The server's events: one frozen dataclass each; `to_json` is the text message.

A field with an `Info` is a field of the JSON event. Fields that are None are left out, nested ones
too. Docstrings become the documentation of the events.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from server.field_info import Info, declared_fields
from server.protocol.client_events import PRESET_NAMES, FaceBox
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.public_text import without_folders


class SpeakerState(StrEnum):
    """What a speaker's mouth does."""

    IDLE = "idle"
    SPEAKING = "speaking"


class DegradedCause(StrEnum):
    """What is too slow: the model on the server, or the network between server and viewer."""

    MODEL = "model"
    NETWORK = "network"


SPEAKER = Info("The speaker's `id`.", "mira")
ITEM = Info("The utterance.", "i1")
PLAYED = Info("How much of the item was played, in milliseconds.", 1_280)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """An event from the server."""

    type: ClassVar[str]

    def to_json(self) -> str:
        """The text message."""
        # Only ASCII: a client's half surrogate, echoed in an error, is not valid UTF-8.
        return json.dumps({"type": self.type} | to_object(self), allow_nan=False)


@dataclass(frozen=True, slots=True)
class SpeakerInfo:
    """One speaker of the session's character."""

    id: Annotated[str, Info("Its id, for events.", "mira")]
    name: Annotated[str, Info("Its name, for people.", "Mira")]
    box: Annotated[FaceBox, Info("Its face in the picture.")]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video that the server sends."""

    width: Annotated[int, Info("Pixels.", 256)]
    height: Annotated[int, Info("Pixels.", 256)]
    fps: Annotated[int, Info("Frames a second.", 25)]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format of the client's speech."""

    type: Annotated[str, Info("PCM16, little endian.", "audio/pcm")]
    rate: Annotated[int, Info("Samples a second (Hz).", 24_000)]
    channels: Annotated[int, Info("Interleaved channels.", 1)]


@dataclass(frozen=True, slots=True)
class AudioInput:
    """What the server expects."""

    format: Annotated[AudioFormat, Info("Format of the speech.")]


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """What the server sends, over WebRTC."""

    codec: Annotated[str, Info("Always opus.", "opus")]
    rate: Annotated[int, Info("Samples a second (Hz).", 48_000)]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Audio in both directions."""

    input: Annotated[AudioInput, Info("The client's speech.")]
    output: Annotated[AudioOutput, Info("The sound of the video.")]


@dataclass(frozen=True, slots=True)
class LatencyInfo:
    """What the preset costs in time, and how much speech is held. Milliseconds."""

    hop_ms: Annotated[int, Info("Media that one step of generation adds.", 160)]
    lag_ms: Annotated[int, Info("How far finished frames lie behind the newest speech used.", 0)]
    lookahead_ms: Annotated[int, Info("Speech after a frame that it needs.", 82)]
    max_buffer_ms: Annotated[int, Info("Speech held per speaker.", 60_000)]


@dataclass(frozen=True, slots=True)
class IceServerInfo:
    """One entry for the `iceServers` of an `RTCPeerConnection`."""

    urls: Annotated[tuple[str, ...], Info("STUN or TURN addresses.", "turn:turn.example:3478")]
    username: Annotated[str | None, Info("For TURN.", "avatar")] = None
    credential: Annotated[str | None, Info("For TURN.", "secret")] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this server and its model can do."""

    emotions: Annotated[
        tuple[str, ...], Info("Emotions of the character; empty if the model has none.", "happy")
    ]
    video_codecs: Annotated[tuple[str, ...], Info("In order of preference.", "VP8")]
    prompt: Annotated[bool, Info("Whether `session.update` may carry a prompt.", False)]
    tts: Annotated[bool, Info("Whether `POST /v1/speech` works.", True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(ServerEvent):
    """The session began; this is what was granted. It comes again after each resumption.

    `resume_secret` takes the session over after a lost socket: connect to
    `/v1/realtime?session=<session_id>` with the subprotocol `avatar.secret.<resume_secret>`.
    """

    type: ClassVar[str] = "session.created"

    session_id: Annotated[str, Info("Id of the session.", "sess_0123456789abcdef")]
    resume_secret: Annotated[str, Info("Resumes the session; keep it secret.", "Zk3v...")]
    resume_ms: Annotated[int, Info("How long the session outlives its socket.", 10_000)]
    character: Annotated[str, Info("Id of the character.", "maya")]
    speakers: Annotated[tuple[SpeakerInfo, ...], Info("From left to right.")]
    preset: Annotated[str, Info("The trade in use.", "interactive", choices=PRESET_NAMES)]
    video: Annotated[VideoInfo, Info("The video's form.")]
    audio: Annotated[AudioInfo, Info("The sound's form.")]
    latency: Annotated[LatencyInfo, Info("Times to expect.")]
    ice_servers: Annotated[tuple[IceServerInfo, ...], Info("For your `RTCPeerConnection`.")]
    capabilities: Annotated[Capabilities, Info("What is possible.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(SessionCreated):
    """A `session.update` was accepted; this is what is granted now."""

    type: ClassVar[str] = "session.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQueued(ServerEvent):
    """The server is full. It admits clients in order, and sends this for each new position."""

    type: ClassVar[str] = "session.queued"

    position: Annotated[int, Info("Place in the queue, from 1.", 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcAnswer(ServerEvent):
    """The answer to `webrtc.offer`. It holds all candidates; the server sends none later."""

    type: ClassVar[str] = "webrtc.answer"

    sdp: Annotated[str, Info("For `setRemoteDescription`.", "v=0\r\n...")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCommitted(ServerEvent):
    """An item takes no more speech: its commit arrived, or another item began."""

    type: ClassVar[str] = "input_audio_buffer.committed"

    item_id: Annotated[str, ITEM]
    speaker: Annotated[str, SPEAKER]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCleared(ServerEvent):
    """Speech was forgotten by `input_audio_buffer.clear`."""

    type: ClassVar[str] = "input_audio_buffer.cleared"

    speaker: Annotated[str, SPEAKER]
    item_id: Annotated[str | None, Info("The utterance; absent if nothing waited.", "i1")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStarted(ServerEvent):
    """The first audible 40 ms of an item were sent."""

    type: ClassVar[str] = "output_audio_buffer.started"

    item_id: Annotated[str, ITEM]
    speaker: Annotated[str, SPEAKER]
    media_time_ms: Annotated[int, Info("Time since the media began, in milliseconds.", 2_440)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStopped(ServerEvent):
    """An item was played to its end. Every item ends in exactly one `stopped` or `cleared`."""

    type: ClassVar[str] = "output_audio_buffer.stopped"

    item_id: Annotated[str, ITEM]
    speaker: Annotated[str, SPEAKER]
    audio_end_ms: Annotated[int, PLAYED]
    interrupted: Annotated[bool, Info("Always false.", False)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCleared(ServerEvent):
    """An item was interrupted; `audio_end_ms` is what the listener really heard of it."""

    type: ClassVar[str] = "output_audio_buffer.cleared"

    item_id: Annotated[str, ITEM]
    speaker: Annotated[str, SPEAKER]
    audio_end_ms: Annotated[int, PLAYED]
    interrupted: Annotated[bool, Info("Always true.", True)] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarState(ServerEvent):
    """A speaker began to speak or fell silent, by what was played, not by what arrived."""

    type: ClassVar[str] = "avatar.state"

    speaker: Annotated[str, SPEAKER]
    state: Annotated[str, Info("Its state.", "speaking", choices=tuple(SpeakerState))]


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStatus(ServerEvent):
    """How much speech waits, twice a second while some does, and once when none is left."""

    type: ClassVar[str] = "buffer.status"

    speaker: Annotated[str, SPEAKER]
    queued_ms: Annotated[int, Info("Speech that arrived and was not played yet.", 3_200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferHigh(BufferStatus):
    """A speaker's queue is nearly full. Pause until its next `buffer.status`."""

    type: ClassVar[str] = "buffer.high"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDegraded(ServerEvent):
    """The stream is worse than it should be. With cause `model` frames are late: the last one
    repeats and the sound waits, so that lips stay in sync. With cause `network` the viewer's
    network carries too little: fewer pictures are sent, then sound alone.
    """

    type: ClassVar[str] = "session.degraded"

    cause: Annotated[str, Info("What is too slow.", "model", choices=tuple(DegradedCause))]
    reason: Annotated[str, Info("Why, for people.", "frames are late")]
    rtf: Annotated[float, Info("Compute time over media time; above 1 is too slow.", 1.2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecovered(SessionDegraded):
    """The cause of a `session.degraded` is gone; each cause recovers by itself."""

    type: ClassVar[str] = "session.recovered"

    reason: Annotated[str, Info("Why, for people.", "frames are on time again")]
    rtf: Annotated[float, Info("Compute time over media time.", 0.6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTick(ServerEvent):
    """One step of generation, if `session.update` asked for metrics."""

    type: ClassVar[str] = "metrics.tick"

    stages: Annotated[
        dict[str, float],
        Info("Time of each stage in milliseconds, by name.", {"wait": 0.2, "denoise": 48.1}),
    ]
    frames: Annotated[int, Info("New frames.", 4)]
    lead_ms: Annotated[int, Info("How far generation is ahead of playout.", 240)]
    rtf: Annotated[float, Info("Compute time over media time.", 0.45)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(ServerEvent):
    """The answer to `ping`."""

    type: ClassVar[str] = "pong"

    event_id: Annotated[str | None, Info("The ping's id.", "e1")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(ServerEvent):
    """The session ended; the socket closes next."""

    type: ClassVar[str] = "session.closed"

    reason: Annotated[str, Info("Why.", "closed by the client")]


ERROR_TYPES = ("invalid_request_error", "server_error", "fatal")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What went wrong."""

    type: Annotated[
        str,
        Info(
            "`fatal` ends the session; after any other it goes on.",
            "invalid_request_error",
            choices=ERROR_TYPES,
        ),
    ]
    code: Annotated[str, Info("See Error codes.", "unknown_speaker", choices=tuple(ErrorCode))]
    message: Annotated[
        str,
        Info("What happened, what is allowed, what to do.", "There is no speaker 'bob'. Use mira."),
    ]
    param: Annotated[str | None, Info("The field at fault.", "speaker")] = None
    event_id: Annotated[str | None, Info("The client's event at fault.", "e1")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(ServerEvent):
    """An event was refused, or the session failed."""

    type: ClassVar[str] = "error"

    error: Annotated[ErrorBody, Info("What went wrong.")]
    retryable: Annotated[bool, Info("Whether the same may succeed later.", False)] = False


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    kind.type: kind
    for kind in (
        SessionQueued,
        SessionCreated,
        SessionUpdated,
        SessionClosed,
        WebrtcAnswer,
        InputCommitted,
        InputCleared,
        OutputStarted,
        OutputStopped,
        OutputCleared,
        AvatarState,
        BufferStatus,
        BufferHigh,
        SessionDegraded,
        SessionRecovered,
        MetricsTick,
        Pong,
        Error,
    )
}


def error_event(reason: ProtocolError, kind: str = "invalid_request_error") -> Error:
    """The error event for `reason`; `kind` is one of ERROR_TYPES."""
    return Error(error=error_body(reason, kind), retryable=reason.retryable)


def error_body(reason: ProtocolError, kind: str = "invalid_request_error") -> ErrorBody:
    """The error of an event or of an HTTP answer: every error that leaves passes here."""
    message = without_folders(str(reason))
    return ErrorBody(kind, str(reason.code), message, reason.param, reason.event_id)


def to_object(value: Any) -> dict[str, Any]:
    """A declared dataclass as a JSON object, without the fields that are None."""
    present = ((each.name, getattr(value, each.attribute)) for each in declared_fields(type(value)))
    return {name: _to_json(inner) for name, inner in present if inner is not None}


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_object(value)
    if isinstance(value, tuple | list):
        return [_to_json(each) for each in value]
    return value
