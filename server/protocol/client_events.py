"""The client's events: one frozen dataclass each, read by `parse_text`.

A field with an `Info` is a field of the JSON event; the annotations are all that the reader, the
JSON Schema and the documentation know. Docstrings become the documentation of the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from runtime.stream.presets import PRESETS
from server.field_info import Info
from server.protocol.errors import ErrorCode
from server.protocol.fields import MAX_NAME_CHARS, JsonObject, parse_object
from server.protocol.model_format import SpeechFormat, speech_format
from server.protocol.update_parts import (
    OPENAI_FIELDS,
    OPENAI_SESSION_FIELDS,
    AudioUpdate,
    FaceBox,
    InputFormatUpdate,
    InputUpdate,
    ModelFormatUpdate,
    OutputUpdate,
    SpeakerWish,
    VideoUpdate,
    beta_format,
    beta_rate,
    fraction,
    name,
)

__all__ = [
    "AudioUpdate",
    "FaceBox",
    "InputFormatUpdate",
    "InputUpdate",
    "ModelFormatUpdate",
    "OutputUpdate",
    "SpeakerWish",
    "VideoUpdate",
]

PRESET_NAMES = tuple(PRESETS)
MAX_AUDIO_BYTES = 12_000_000
"""Audio bytes in one append: a minute of 48 kHz stereo PCM16 and a little more."""


SPEAKER = name("The speaker's `id`; without it, the first speaker.", "mira")
SPEAKER_OR_ALL = name("The speaker's `id`; without it, every speaker.", "mira")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvent:
    """An event from the client."""

    type: ClassVar[str]
    wrapper: ClassVar[str | None] = None
    """The event's fields may also stand in an object of this name."""

    event_id: Annotated[
        str | None, Info("Your id of this event; errors about it repeat it.", "e1")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdate(ClientEvent):
    """Change the session's settings; fields that are absent keep their values.

    Everything may change before the first `webrtc.offer` is answered. Afterwards only `speakers`
    (their emotions), `audio` and `metrics` may. The server answers `session.updated`, or an `error`
    and no change at all. The settings may also stand in an object `session`, as in the OpenAI
    Realtime API.
    """

    type: ClassVar[str] = "session.update"
    wrapper: ClassVar[str | None] = "session"

    character: Annotated[
        str | None, name("Id of the character to show; see `GET /v1/characters`.", "maya")
    ] = None
    speakers: Annotated[
        tuple[SpeakerWish, ...] | None,
        Info("Names for the character's faces, and their boxes and emotions."),
    ] = None
    audio: Annotated[
        AudioUpdate | None,
        Info("The format of the speech; one format for the whole of an item."),
    ] = None
    video: Annotated[
        VideoUpdate | None, Info("Refused (`unsupported`) unless it equals what is granted.")
    ] = None
    preset: Annotated[
        str | None,
        Info("Trade between latency and compute.", "interactive", choices=PRESET_NAMES),
    ] = None
    prompt: Annotated[
        str | None, Info("What to show. Refused (`unsupported`) if `capabilities.prompt` is false.")
    ] = None
    seed: Annotated[
        int | None, Info("Seed of the noise, so of idle motion.", 7, low=0, high=2**63 - 1)
    ] = None
    metrics: Annotated[bool | None, Info("Whether to send `metrics.tick`.", True)] = None
    input_audio_format: Annotated[
        str | None, beta_format("`audio.input.format`, as in that API's beta.")
    ] = None
    output_audio_format: Annotated[
        str | None, beta_format("`audio.output.format`, as in that API's beta.")
    ] = None

    @property
    def input_rate(self) -> int | None:
        """The rate that the event sets for the client's own speech."""
        return self.input_format.rate or beta_rate(self.input_audio_format)

    @property
    def model_rate(self) -> int | None:
        """The rate that the event sets for a voice model's forwarded speech."""
        sent = self.audio.output if self.audio else None
        wished = (sent.format if sent else None) or ModelFormatUpdate()
        return wished.rate or beta_rate(self.output_audio_format)

    @property
    def input_format(self) -> InputFormatUpdate:
        """The format of the speech, all None if the event does not mention it."""
        sent = self.audio.input if self.audio else None
        return (sent.format if sent else None) or InputFormatUpdate()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcOffer(ClientEvent):
    """Offer to receive the media. The server answers `webrtc.answer`, with all its candidates.

    Add one audio and one video transceiver, both `recvonly`.
    """

    type: ClassVar[str] = "webrtc.offer"

    sdp: Annotated[
        str, Info("The offer of `createOffer`, unchanged.", "v=0\r\n...", max_chars=100_000)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcCandidate(ClientEvent):
    """Add an ICE candidate that the offer did not hold.

    Send the browser's `RTCIceCandidate` as the object `candidate`, or its fields in the event
    itself. An empty candidate line says that there are no more.
    """

    type: ClassVar[str] = "webrtc.candidate"
    wrapper: ClassVar[str | None] = "candidate"

    candidate: Annotated[
        str,
        Info(
            "The candidate line.",
            "candidate:1 1 UDP 2122252543 192.0.2.1 54321 typ host",
            max_chars=2_000,
        ),
    ] = ""
    sdp_mid: Annotated[
        str | None,
        Info(
            "Its media section, by name.",
            "0",
            min_chars=1,
            max_chars=MAX_NAME_CHARS,
            name="sdpMid",
        ),
    ] = None
    sdp_mline_index: Annotated[
        int | None,
        Info("Its media section, by number.", 0, low=0, high=63, name="sdpMLineIndex"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(ClientEvent):
    """Append speech, in pieces of any size, faster than real time if you like.

    The first append of an item opens it. At most `latency.max_buffer_ms` are held per speaker. The
    same as a binary message is smaller; see Binary audio.
    """

    type: ClassVar[str] = "input_audio_buffer.append"

    audio: Annotated[
        bytes,
        Info(
            "PCM16 in the session's input format, as base64.",
            b"\0\0\1\0",
            max_bytes=MAX_AUDIO_BYTES,
        ),
    ]
    speaker: Annotated[str | int | None, SPEAKER] = None
    item_id: Annotated[
        str | None,
        name("Your id of this utterance; without it, the open item, or a new one.", "i1"),
    ] = None
    # Of a binary message, whose `speaker` is a number.
    commit: bool = False
    seq: int | None = None
    is_forwarded: bool = field(default=False, compare=False)
    """Whether it is a voice model's own event, whose format its session events name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(ClientEvent):
    """End the open item: no more speech will come.

    The server answers `input_audio_buffer.committed` and plays what the item holds to its end.
    """

    type: ClassVar[str] = "input_audio_buffer.commit"

    speaker: Annotated[str | int | None, SPEAKER] = None
    item_id: Annotated[str | None, name("The item; without it, the open one.", "i1")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearInput(ClientEvent):
    """Forget speech that no frame was generated from yet; what is generated plays on.

    The server answers `input_audio_buffer.cleared` for each item, or once without `item_id`.
    """

    type: ClassVar[str] = "input_audio_buffer.clear"

    speaker: Annotated[str | int | None, SPEAKER_OR_ALL] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearOutput(ClientEvent):
    """Interrupt (barge-in): drop queued speech, and frames that were not played yet.

    Each item that this ends answers with `output_audio_buffer.cleared`, which says how much of it
    was played.
    """

    type: ClassVar[str] = "output_audio_buffer.clear"

    speaker: Annotated[str | int | None, SPEAKER_OR_ALL] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionUpdate(ClientEvent):
    """Change a speaker's emotion from the next frames on, while idle or speaking."""

    type: ClassVar[str] = "avatar.emotion.update"

    emotion: Annotated[str, name("One of `capabilities.emotions`.", "happy")]
    speaker: Annotated[str | int | None, SPEAKER] = None
    strength: Annotated[float, fraction("How strong; 0 is neutral.", 1.0)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClose(ClientEvent):
    """End the session. The server answers `session.closed` and closes the socket."""

    type: ClassVar[str] = "session.close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(ClientEvent):
    """Ask for a `pong` with the same `event_id`."""

    type: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored(ClientEvent):
    """A voice model's own event that means nothing here, forwarded with the others."""

    ignored_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormatNamed(ClientEvent):
    """A voice model's own event that names the format of the speech it will send."""

    format: SpeechFormat


CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    kind.type: kind
    for kind in (
        SessionUpdate,
        WebrtcOffer,
        WebrtcCandidate,
        Append,
        Commit,
        ClearInput,
        ClearOutput,
        EmotionUpdate,
        SessionClose,
        Ping,
    )
}


@dataclass(frozen=True, slots=True)
class ForwardedEvent:
    """A voice model's own event that the server reads as `acts_as`."""

    acts_as: type[ClientEvent]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Field of `acts_as` to the field of this event."""


FORWARDED_EVENTS: dict[str, ForwardedEvent] = {
    "response.output_audio.delta": ForwardedEvent(Append, {"audio": "delta"}),
    "response.audio.delta": ForwardedEvent(Append, {"audio": "delta"}),
    "response.output_audio.done": ForwardedEvent(Commit),
    "response.audio.done": ForwardedEvent(Commit),
    "input_audio_buffer.speech_started": ForwardedEvent(ClearOutput),
    "response.cancelled": ForwardedEvent(ClearOutput),
}
IGNORED_PREFIXES = (
    "response.",
    "conversation.",
    "rate_limits.",
    "mcp_list_tools.",
    "transcription_session.",
    "input_audio_buffer.speech_",
)
FORMAT_EVENTS = {
    "session.created": "session",
    "session.updated": "session",
    "response.created": "response",
}
"""Events that may name the format of the following speech, in the object of that name."""
IGNORED_EVENTS = frozenset(
    {
        "error",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
    }
)


def parse_text(text: str) -> ClientEvent:
    """The client event in one text message; raises ProtocolError with the event's id."""
    sent = parse_object(text)
    if sent.event_type in CLIENT_EVENTS:
        return _read(sent, CLIENT_EVENTS[sent.event_type])
    if sent.event_type in FORWARDED_EVENTS:
        forwarded = FORWARDED_EVENTS[sent.event_type]
        renamed = JsonObject(sent.values, sent.event_type, sent.event_id, aliases=forwarded.aliases)
        event = renamed.read(forwarded.acts_as)
        return replace(event, is_forwarded=True) if isinstance(event, Append) else event
    if sent.event_type in FORMAT_EVENTS:
        named = speech_format(sent, FORMAT_EVENTS[sent.event_type])
        if named is not None:
            return ModelFormatNamed(format=named, event_id=sent.event_id)
        return Ignored(ignored_type=sent.event_type, event_id=sent.event_id)
    if sent.event_type.startswith(IGNORED_PREFIXES) or sent.event_type in IGNORED_EVENTS:
        return Ignored(ignored_type=sent.event_type, event_id=sent.event_id)
    names = ", ".join(sorted(CLIENT_EVENTS))
    raise sent.error(
        ErrorCode.UNKNOWN_EVENT,
        f"There is no event {sent.event_type[:60]!r}. Send one of {names}.",
        "type",
    )


def _read(sent: JsonObject, kind: type[ClientEvent]) -> ClientEvent:
    wrapped = sent.values.get(kind.wrapper) if kind.wrapper else None
    others = frozenset({"type", "event_id", kind.wrapper or ""})
    if kind.wrapper is not None and wrapped is not None and not isinstance(wrapped, str):
        inner = sent.child(kind.wrapper)
        if kind is SessionUpdate:
            _refuse_beside(sent, kind.wrapper)
        values = {**inner.values, "event_id": sent.event_id}
        sent = JsonObject(values, sent.event_type, sent.event_id, inner.path)
    event = sent.read(kind)
    if kind is SessionUpdate:
        sent.refuse_unknown(kind, others | OPENAI_SESSION_FIELDS, OPENAI_FIELDS)
    else:
        sent.refuse_misspelt(kind, others)
    return event


def _refuse_beside(sent: JsonObject, wrapper: str) -> None:
    """Settings beside the object that holds the settings would not be read."""
    beside = [each for each in sent.values if each not in ("type", "event_id", wrapper)]
    if beside:
        raise sent.error(
            ErrorCode.INVALID_FIELD,
            f"{beside[0][:60]!r} stands beside the object {wrapper!r}, which holds all settings. "
            f"Move it into {wrapper!r}.",
            beside[0][:60],
        )
