"""The events of Avatar Server's WebSocket (subprotocol `avatar.v1`), for clients.

Generated from the server's code by `python -m server.reference`; do not edit. Needs only the
standard library.

    event = parse_server_event(message)  # a frozen dataclass, such as OutputStarted
    message = json.dumps(output_audio_buffer_clear(speaker="mira"))
    message = pack_binary_append(pcm16)  # the smaller form of input_audio_buffer_append
"""

import base64
import dataclasses
import json
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

SUBPROTOCOL = "avatar.v1"
SECRET_SUBPROTOCOL_PREFIX = "avatar.secret."
"""Before a client secret or a resume secret, offered as a second subprotocol."""
MAX_AUDIO_BYTES = 12_000_000
"""Audio bytes in one append."""


class EventError(ValueError):
    """A message that is not an event of this protocol, or a newer server's event."""


class ErrorCode(StrEnum):
    """Codes of errors."""

    INVALID_JSON = "invalid_json"
    """A text message is not JSON, or not an object with a text field `type`."""
    UNKNOWN_EVENT = "unknown_event"
    """The `type` is neither an event of this protocol nor a voice model's own event."""
    MISSING_FIELD = "missing_field"
    """A required field is absent or null."""
    INVALID_FIELD = "invalid_field"
    """A field has the wrong type or is out of range, or fields contradict each other."""
    INVALID_BASE64 = "invalid_base64"
    """The audio of an append is not base64."""
    BAD_BINARY_HEADER = "bad_binary_header"
    """A binary message does not begin with the 12-byte header."""
    SEQUENCE_GAP = "sequence_gap"
    """`seq` jumped ahead: binary messages were lost, usually while the socket was down."""
    MESSAGE_TOO_LARGE = "message_too_large"
    """A message, the JSON of a message beside its audio, an HTTP body or a picture exceeds its
    limit."""
    CONTAINER_NOT_PCM = "container_not_pcm"
    """The audio begins like a file (WAV, MP3, AAC, Ogg, WebM) or like text, not like
    samples."""
    UNSUPPORTED_RATE = "unsupported_rate"
    """The sample rate is not a whole number from 8,000 to 48,000 Hz."""
    UNSUPPORTED = "unsupported"
    """This server or its model cannot do that: prompts, emotions, another video size."""
    BUFFER_FULL = "buffer_full"
    """A speaker's queue would exceed `latency.max_buffer_ms`, or hold too many items."""
    ITEM_CLOSED = "item_closed"
    """The item of that `item_id` was committed, or has ended."""
    EMPTY_COMMIT = "empty_commit"
    """A commit arrived for a speaker without an open item."""
    UNKNOWN_SPEAKER = "unknown_speaker"
    """The session's character has no speaker of that name or number."""
    UNKNOWN_CHARACTER = "unknown_character"
    """The server has no character with that id."""
    UNKNOWN_EMOTION = "unknown_emotion"
    """The character has no reference image for that emotion."""
    CHARACTER_EXISTS = "character_exists"
    """A character of that id exists: built in, or added before."""
    STORAGE_FAILED = "storage_failed"
    """The server cannot write an uploaded character: its disk is full or read-only."""
    REQUEST_TIMEOUT = "request_timeout"
    """An upload did not arrive in time."""
    INVALID_PICTURE = "invalid_picture"
    """An uploaded picture cannot be read, is too large, or is transparent all over."""
    INVALID_SDP = "invalid_sdp"
    """The offer or a candidate is not valid SDP, or asks for no audio or video to receive."""
    NO_COMMON_CODEC = "no_common_codec"
    """The offer has no video codec that the server sends."""
    NO_OFFER = "no_offer"
    """A candidate arrived before any offer."""
    NO_MEDIA = "no_media"
    """No `webrtc.offer` arrived in time, so the session was closed to free its slot."""
    MEDIA_STARTED = "media_started"
    """A field that is fixed once an offer was answered changed: character, preset, seed,
    boxes."""
    SESSION_NOT_FOUND = "session_not_found"
    """No session lives under that id and secret; it may have ended meanwhile."""
    UNAUTHORIZED = "unauthorized"
    """The API key or client secret is missing, wrong or was used before."""
    FORBIDDEN = "forbidden"
    """The page comes from another site, or the server was addressed by a name that it does not
    answer to."""
    NOT_FOUND = "not_found"
    """The server has nothing at that path."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path exists, but not for that HTTP method."""
    UPGRADE_REQUIRED = "upgrade_required"
    """A plain request came to `/v1/realtime`, which is a WebSocket."""
    SERVER_FULL = "server_full"
    """All sessions and all places in the queue are taken."""
    UNAVAILABLE = "unavailable"
    """The model is still loading or has failed, or the server is shutting down."""
    RATE_LIMITED = "rate_limited"
    """The client asks for more of one kind of work than one may, or tried many wrong keys."""
    SESSION_EXPIRED = "session_expired"
    """The session lasted for `limits.max_session_ms`, or its client sent nothing for
    `limits.idle_ms`."""
    PEER_LOST = "peer_lost"
    """The WebRTC connection was not established, or was lost and not offered again in time."""
    GENERATOR_FAILED = "generator_failed"
    """The model failed or hung while it generated frames, for this session or for all."""
    EMPTY_TEXT = "empty_text"
    """The text to speak is empty, or has nothing that makes a sound."""
    TEXT_TOO_LONG = "text_too_long"
    """The text to speak, or its sound, exceeds the limit, which the message names."""
    INVALID_TEXT = "invalid_text"
    """The text holds control characters, or half of a surrogate pair."""
    UNKNOWN_VOICE = "unknown_voice"
    """espeak-ng has no such voice."""
    SPEECH_FAILED = "speech_failed"
    """espeak-ng failed."""
    SPEECH_TIMEOUT = "speech_timeout"
    """espeak-ng took too long."""
    SPEECH_NOT_INSTALLED = "speech_not_installed"
    """The server has no espeak-ng; `capabilities.tts` is false."""
    INTERNAL = "internal"
    """A bug in the server."""


class CloseCode(IntEnum):
    """Why a socket was closed."""

    NORMAL = 1000
    """The session ended; `session.closed` came before it."""
    GOING_AWAY = 1001
    """The server ends: it shuts down, or its model failed; `session.closed` came before it."""
    INVALID_TEXT = 1007
    """A text message is not UTF-8. The session may be taken up again."""
    POLICY = 1008
    """The session was refused (a fatal `error` came before it), events were not read within 20
    s, or the client sent too many pings or fragments (the close frame says which)."""
    TOO_LARGE = 1009
    """A message has more than `limits.max_message_bytes`, or 64 kB before `session.created`. An
    `error` with `message_too_large` came before it. The session may be taken up again."""
    TRY_LATER = 1013
    """All sessions and all places in the queue are taken, the model is still loading, or the
    server is shutting down."""
    TAKEN_OVER = 4001
    """Another socket took the session over with its id and secret."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A face's rectangle, in fractions of the picture; the origin is the top left corner."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    width: float
    """Width."""
    height: float
    """Height."""


@dataclass(frozen=True, slots=True)
class SpeakerInfo:
    """One speaker of the session's character."""

    id: str
    """Its id, for events."""
    name: str
    """Its name, for people."""
    box: FaceBox
    """Its face in the picture."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video that the server sends."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: int
    """Frames a second."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format of the client's speech."""

    type: str
    """PCM16, little endian."""
    rate: int
    """Samples a second (Hz)."""
    channels: int
    """Interleaved channels."""


@dataclass(frozen=True, slots=True)
class AudioInput:
    """What the server expects."""

    format: AudioFormat
    """Format of the speech."""


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """What the server sends, over WebRTC."""

    codec: str
    """Always opus."""
    rate: int
    """Samples a second (Hz)."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Audio in both directions."""

    input: AudioInput
    """The client's speech."""
    output: AudioOutput
    """The sound of the video."""


@dataclass(frozen=True, slots=True)
class LatencyInfo:
    """What the preset costs in time, and how much speech is held. Milliseconds."""

    hop_ms: int
    """Media that one step of generation adds."""
    lag_ms: int
    """How far finished frames lie behind the newest speech used."""
    lookahead_ms: int
    """Speech after a frame that it needs."""
    max_buffer_ms: int
    """Speech held per speaker."""


@dataclass(frozen=True, slots=True)
class IceServerInfo:
    """One entry for the `iceServers` of an `RTCPeerConnection`."""

    urls: tuple[str, ...]
    """STUN or TURN addresses."""
    username: str | None = None
    """For TURN."""
    credential: str | None = None
    """For TURN."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this server and its model can do."""

    emotions: tuple[str, ...]
    """Emotions of the character; empty if the model has none."""
    video_codecs: tuple[str, ...]
    """In order of preference."""
    prompt: bool
    """Whether `session.update` may carry a prompt."""
    tts: bool
    """Whether `POST /v1/speech` works."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What went wrong."""

    type: str
    """`fatal` ends the session; after any other it goes on."""
    code: str
    """See Error codes."""
    message: str
    """What happened, what is allowed, what to do."""
    param: str | None = None
    """The field at fault."""
    event_id: str | None = None
    """The client's event at fault."""


@dataclass(frozen=True, slots=True)
class SpeakerWish:
    """A speaker as the client wants it."""

    id: str
    """The speaker's name in this session."""
    face: int | None = None
    """The face it gets, counted from the left."""
    box: FaceBox | None = None
    """Another place for the face."""
    emotion: str | None = None
    """The emotion to begin with."""


@dataclass(frozen=True, slots=True)
class InputFormatUpdate:
    """The format of the speech that the client sends."""

    type: str | None = None
    """PCM16, little endian."""
    rate: int | None = None
    """Samples a second (Hz)."""
    channels: int | None = None
    """Interleaved channels; they are mixed to mono."""


@dataclass(frozen=True, slots=True)
class InputUpdate:
    """What the client sends."""

    format: InputFormatUpdate | None = None
    """Format of the speech."""


@dataclass(frozen=True, slots=True)
class ModelFormatUpdate:
    """The format of a voice model's forwarded speech; one channel."""

    type: str | None = None
    """PCM16, little endian."""
    rate: int | None = None
    """Samples a second (Hz)."""


@dataclass(frozen=True, slots=True)
class OutputUpdate:
    """What a voice model says, as far as you forward it."""

    format: ModelFormatUpdate | None = None
    """Format of the audio in `response.*.delta`."""


@dataclass(frozen=True, slots=True)
class AudioUpdate:
    """Audio settings."""

    input: InputUpdate | None = None
    """The client's speech."""
    output: OutputUpdate | None = None
    """A voice model's forwarded speech; without it, as the input if that has a rate."""


@dataclass(frozen=True, slots=True)
class VideoUpdate:
    """The video that the client wants. The character's picture fixes it: any other is refused."""

    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    fps: int | None = None
    """Frames a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """An event from the server."""

    type: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQueued(ServerEvent):
    """The server is full. It admits clients in order, and sends this for each new position."""

    type: ClassVar[str] = "session.queued"

    position: int
    """Place in the queue, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(ServerEvent):
    """The session began; this is what was granted. It comes again after each resumption.

    `resume_secret` takes the session over after a lost socket: connect to
    `/v1/realtime?session=<session_id>` with the subprotocol `avatar.secret.<resume_secret>`.
    """

    type: ClassVar[str] = "session.created"

    session_id: str
    """Id of the session."""
    resume_secret: str
    """Resumes the session; keep it secret."""
    resume_ms: int
    """How long the session outlives its socket."""
    character: str
    """Id of the character."""
    speakers: tuple[SpeakerInfo, ...]
    """From left to right."""
    preset: str
    """The trade in use."""
    video: VideoInfo
    """The video's form."""
    audio: AudioInfo
    """The sound's form."""
    latency: LatencyInfo
    """Times to expect."""
    ice_servers: tuple[IceServerInfo, ...]
    """For your `RTCPeerConnection`."""
    capabilities: Capabilities
    """What is possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(SessionCreated):
    """A `session.update` was accepted; this is what is granted now."""

    type: ClassVar[str] = "session.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(ServerEvent):
    """The session ended; the socket closes next."""

    type: ClassVar[str] = "session.closed"

    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcAnswer(ServerEvent):
    """The answer to `webrtc.offer`. It holds all candidates; the server sends none later."""

    type: ClassVar[str] = "webrtc.answer"

    sdp: str
    """For `setRemoteDescription`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCommitted(ServerEvent):
    """An item takes no more speech: its commit arrived, or another item began."""

    type: ClassVar[str] = "input_audio_buffer.committed"

    item_id: str
    """The utterance."""
    speaker: str
    """The speaker's `id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCleared(ServerEvent):
    """Speech was forgotten by `input_audio_buffer.clear`."""

    type: ClassVar[str] = "input_audio_buffer.cleared"

    speaker: str
    """The speaker's `id`."""
    item_id: str | None = None
    """The utterance; absent if nothing waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStarted(ServerEvent):
    """The first audible 40 ms of an item were sent."""

    type: ClassVar[str] = "output_audio_buffer.started"

    item_id: str
    """The utterance."""
    speaker: str
    """The speaker's `id`."""
    media_time_ms: int
    """Time since the media began, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStopped(ServerEvent):
    """An item was played to its end. Every item ends in exactly one `stopped` or `cleared`."""

    type: ClassVar[str] = "output_audio_buffer.stopped"

    item_id: str
    """The utterance."""
    speaker: str
    """The speaker's `id`."""
    audio_end_ms: int
    """How much of the item was played, in milliseconds."""
    interrupted: bool = False
    """Always false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCleared(ServerEvent):
    """An item was interrupted; `audio_end_ms` is what the listener really heard of it."""

    type: ClassVar[str] = "output_audio_buffer.cleared"

    item_id: str
    """The utterance."""
    speaker: str
    """The speaker's `id`."""
    audio_end_ms: int
    """How much of the item was played, in milliseconds."""
    interrupted: bool = True
    """Always true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarState(ServerEvent):
    """A speaker began to speak or fell silent, by what was played, not by what arrived."""

    type: ClassVar[str] = "avatar.state"

    speaker: str
    """The speaker's `id`."""
    state: str
    """Its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStatus(ServerEvent):
    """How much speech waits, twice a second while some does, and once when none is left."""

    type: ClassVar[str] = "buffer.status"

    speaker: str
    """The speaker's `id`."""
    queued_ms: int
    """Speech that arrived and was not played yet."""


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

    cause: str
    """What is too slow."""
    reason: str
    """Why, for people."""
    rtf: float
    """Compute time over media time; above 1 is too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecovered(SessionDegraded):
    """The cause of a `session.degraded` is gone; each cause recovers by itself."""

    type: ClassVar[str] = "session.recovered"

    reason: str
    """Why, for people."""
    rtf: float
    """Compute time over media time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTick(ServerEvent):
    """One step of generation, if `session.update` asked for metrics."""

    type: ClassVar[str] = "metrics.tick"

    stages: dict[str, float]
    """Time of each stage in milliseconds, by name."""
    frames: int
    """New frames."""
    lead_ms: int
    """How far generation is ahead of playout."""
    rtf: float
    """Compute time over media time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(ServerEvent):
    """The answer to `ping`."""

    type: ClassVar[str] = "pong"

    event_id: str | None = None
    """The ping's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(ServerEvent):
    """An event was refused, or the session failed."""

    type: ClassVar[str] = "error"

    error: ErrorBody
    """What went wrong."""
    retryable: bool = False
    """Whether the same may succeed later."""


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    "session.queued": SessionQueued,
    "session.created": SessionCreated,
    "session.updated": SessionUpdated,
    "session.closed": SessionClosed,
    "webrtc.answer": WebrtcAnswer,
    "input_audio_buffer.committed": InputCommitted,
    "input_audio_buffer.cleared": InputCleared,
    "output_audio_buffer.started": OutputStarted,
    "output_audio_buffer.stopped": OutputStopped,
    "output_audio_buffer.cleared": OutputCleared,
    "avatar.state": AvatarState,
    "buffer.status": BufferStatus,
    "buffer.high": BufferHigh,
    "session.degraded": SessionDegraded,
    "session.recovered": SessionRecovered,
    "metrics.tick": MetricsTick,
    "pong": Pong,
    "error": Error,
}


def parse_server_event(text: str) -> ServerEvent:
    """The event in one text message; fields that this version does not know are ignored.

    Raises EventError for anything else, so for events of a newer server too.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise EventError(f"The message is not JSON: {reason}") from None
    kind = SERVER_EVENTS.get(str(values.get("type"))) if isinstance(values, dict) else None
    if kind is None:
        raise EventError(f"The message is not an event of this protocol: {text[:80]}")
    event: ServerEvent = _read(kind, values)
    return event


def _read(kind: Any, values: object) -> Any:
    if not isinstance(values, dict):
        raise EventError(f"{kind.__name__} is {values!r}, but must be an object.")
    hints = _hints(kind)
    known = {name: _value(hints[name], values[name]) for name in hints if name in values}
    try:
        return kind(**known)
    except TypeError as reason:
        raise EventError(f"{kind.__name__} lacks a field: {reason}") from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) in (Union, UnionType):
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], each) for each in value)
    return _read(hint, value) if dataclasses.is_dataclass(hint) else value


def session_update(
    *,
    character: str | None = None,
    speakers: tuple[SpeakerWish, ...] | None = None,
    audio: AudioUpdate | None = None,
    video: VideoUpdate | None = None,
    preset: str | None = None,
    prompt: str | None = None,
    seed: int | None = None,
    metrics: bool | None = None,
    input_audio_format: str | None = None,
    output_audio_format: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Change the session's settings; fields that are absent keep their values."""
    return _event(
        "session.update",
        character=character,
        speakers=speakers,
        audio=audio,
        video=video,
        preset=preset,
        prompt=prompt,
        seed=seed,
        metrics=metrics,
        input_audio_format=input_audio_format,
        output_audio_format=output_audio_format,
        event_id=event_id,
    )


def webrtc_offer(
    sdp: str,
    *,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Offer to receive the media. The server answers `webrtc.answer`, with all its candidates."""
    return _event(
        "webrtc.offer",
        sdp=sdp,
        event_id=event_id,
    )


def webrtc_candidate(
    *,
    candidate: str = "",
    sdp_mid: str | None = None,
    sdp_mline_index: int | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Add an ICE candidate that the offer did not hold."""
    return _event(
        "webrtc.candidate",
        candidate=candidate,
        sdpMid=sdp_mid,
        sdpMLineIndex=sdp_mline_index,
        event_id=event_id,
    )


def input_audio_buffer_append(
    audio: bytes,
    *,
    speaker: str | None = None,
    item_id: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Append speech, in pieces of any size, faster than real time if you like."""
    return _event(
        "input_audio_buffer.append",
        audio=audio,
        speaker=speaker,
        item_id=item_id,
        event_id=event_id,
    )


def input_audio_buffer_commit(
    *,
    speaker: str | None = None,
    item_id: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """End the open item: no more speech will come."""
    return _event(
        "input_audio_buffer.commit",
        speaker=speaker,
        item_id=item_id,
        event_id=event_id,
    )


def input_audio_buffer_clear(
    *,
    speaker: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Forget speech that no frame was generated from yet; what is generated plays on."""
    return _event(
        "input_audio_buffer.clear",
        speaker=speaker,
        event_id=event_id,
    )


def output_audio_buffer_clear(
    *,
    speaker: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Interrupt (barge-in): drop queued speech, and frames that were not played yet."""
    return _event(
        "output_audio_buffer.clear",
        speaker=speaker,
        event_id=event_id,
    )


def avatar_emotion_update(
    emotion: str,
    *,
    speaker: str | None = None,
    strength: float = 1.0,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Change a speaker's emotion from the next frames on, while idle or speaking."""
    return _event(
        "avatar.emotion.update",
        emotion=emotion,
        speaker=speaker,
        strength=strength,
        event_id=event_id,
    )


def session_close(
    *,
    event_id: str | None = None,
) -> dict[str, Any]:
    """End the session. The server answers `session.closed` and closes the socket."""
    return _event("session.close", event_id=event_id)


def ping(
    *,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Ask for a `pong` with the same `event_id`."""
    return _event("ping", event_id=event_id)


def pack_binary_append(
    audio: bytes, speaker_index: int = 0, seq: int = 0, *, commit: bool = False
) -> bytes:
    """An append as a binary message: `audio` is PCM16, `speaker_index` counts from 0.

    `seq` counts the session's binary messages, of all speakers together, so that the server
    notices lost ones. A client that does not count sends 0.
    """
    flags = 1 if commit else 0
    values = (0xA17A, 1, speaker_index, seq & 0xFFFFFFFF, flags)
    return struct.pack("<HBBII", *values) + audio


def _event(type: str, **fields: Any) -> dict[str, Any]:
    """The JSON object of a client event, without the fields that are None."""
    return {"type": type} | _present(fields)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _json_value(value) for name, value in fields.items() if value is not None}


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return _present({name: getattr(value, name) for name in names})
    if isinstance(value, tuple | list):
        return [_json_value(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
