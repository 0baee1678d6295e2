"""What a client may say: each text or binary message becomes one frozen dataclass, or an error."""

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Any, cast

from server.protocol.fields import ErrorCode, Fields, ProtocolError

PRESETS = ("interactive", "balanced", "broadcast")
MAX_AUDIO_BYTES = 12_000_000
"""Audio bytes in one append: a minute of 48 kHz stereo PCM16 and a little more."""

BINARY_MAGIC = 0xA17A
BINARY_VERSION = 1
BINARY_HEADER = struct.Struct("<HBBII")
FLAG_COMMIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvent:
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A face, as fractions of the picture, origin top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class SpeakerWish:
    """A speaker as the client wants it: a name for face number `face` (from 0, left to right)."""

    id: str
    face: int | None = None
    box: Box | None = None
    emotion: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdate(ClientEvent):
    """What the client wants changed; None means "leave as it is"."""

    character: str | None = None
    speakers: tuple[SpeakerWish, ...] | None = None
    rate: int | None = None
    channels: int | None = None
    width: int | None = None
    height: int | None = None
    fps: int | None = None
    preset: str | None = None
    prompt: str | None = None
    seed: int | None = None
    metrics: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcOffer(ClientEvent):
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebrtcCandidate(ClientEvent):
    """A trickled ICE candidate line; an empty one says that there are no more."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(ClientEvent):
    """PCM16 of one speaker: named, numbered (binary header), or None for the first speaker.

    `seq` counts a session's binary messages, those of all speakers together.
    """

    audio: bytes
    speaker: str | int | None = None
    item_id: str | None = None
    commit: bool = False
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(ClientEvent):
    speaker: str | int | None = None
    item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearInput(ClientEvent):
    """Forget audio not yet generated from; None means every speaker."""

    speaker: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearOutput(ClientEvent):
    """Barge-in: drop what is queued and what is generated but not yet played."""

    speaker: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionUpdate(ClientEvent):
    emotion: str
    speaker: str | int | None = None
    strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClose(ClientEvent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(ClientEvent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored(ClientEvent):
    """A voice model's own event that means nothing here, passed through with the others."""

    type: str


def parse_text(text: str) -> ClientEvent:
    """The client event in one text message; raises ProtocolError with the event's id."""
    fields = Fields.from_json(text)
    reader = _READERS.get(fields.type)
    if reader is not None:
        return cast(ClientEvent, reader(fields))
    if fields.type.startswith(_VOICE_MODEL_PREFIXES) or fields.type in _VOICE_MODEL_EVENTS:
        return Ignored(type=fields.type, event_id=fields.event_id)
    raise fields.error(
        ErrorCode.UNKNOWN_EVENT,
        f"found the event type {fields.type[:60]!r}, expected one of {', '.join(sorted(_READERS))}",
        "type",
    )


def parse_binary(message: bytes) -> Append:
    """The append in one binary message: 12 header bytes, then PCM16."""
    if len(message) < BINARY_HEADER.size:
        raise ProtocolError(
            ErrorCode.BAD_BINARY_HEADER,
            f"found a binary message of {len(message)} bytes, expected at least the 12 header "
            "bytes; send magic 0xA17A, version, speaker index, seq and flags before the PCM16",
        )
    magic, version, speaker, seq, flags = BINARY_HEADER.unpack_from(message)
    if magic != BINARY_MAGIC or version != BINARY_VERSION or flags & ~FLAG_COMMIT:
        raise ProtocolError(
            ErrorCode.BAD_BINARY_HEADER,
            f"found magic 0x{magic:04X}, version {version}, flags 0x{flags:X}; expected "
            "0xA17A, 1 and 0 or 1, little endian; put the 12-byte header before the PCM16",
        )
    audio = message[BINARY_HEADER.size :]
    if len(audio) > MAX_AUDIO_BYTES:
        raise _too_large(len(audio), None)
    return Append(audio=audio, speaker=speaker, commit=bool(flags & FLAG_COMMIT), seq=seq)


def pack_binary_append(
    audio: bytes, speaker_index: int = 0, seq: int = 0, *, commit: bool = False
) -> bytes:
    """The binary form of an append: `audio` is PCM16, `speaker_index` counts from 0.

    `seq` counts the binary messages of the session, so that the server can tell of lost ones
    (sent while the socket was lost, say); whoever does not count sends 0.
    """
    flags = FLAG_COMMIT if commit else 0
    header = BINARY_HEADER.pack(
        BINARY_MAGIC, BINARY_VERSION, speaker_index, seq & 0xFFFFFFFF, flags
    )
    return header + audio


def _read_session_update(fields: Fields) -> SessionUpdate:
    # The OpenAI Realtime API nests the settings in "session"; both forms are taken.
    settings = fields.child("session") or fields
    audio_format = settings.child("audio").child("input").child("format")
    kind = audio_format.text("type")
    if kind not in (None, "audio/pcm"):
        raise audio_format.error(
            ErrorCode.INVALID_FIELD,
            f"found the audio format {kind!r}, expected 'audio/pcm'; decode it to PCM16 first",
            "type",
        )
    video = settings.child("video")
    speakers = settings.children("speakers")
    return SessionUpdate(
        event_id=fields.event_id,
        character=settings.text("character"),
        speakers=None if speakers is None else tuple(_read_speaker(each) for each in speakers),
        rate=audio_format.integer("rate", 8_000, 48_000, ErrorCode.UNSUPPORTED_RATE),
        channels=audio_format.integer("channels", 1, 8),
        width=video.integer("width", 16, 4096),
        height=video.integer("height", 16, 4096),
        fps=video.integer("fps", 1, 120),
        preset=settings.choice("preset", PRESETS),
        prompt=settings.text("prompt", limit=10_000),
        seed=settings.integer("seed", 0, 2**63 - 1),
        metrics=settings.boolean("metrics"),
    )


def _read_speaker(fields: Fields) -> SpeakerWish:
    box = fields.child("box")
    return SpeakerWish(
        id=fields.need(fields.text("id"), "id"),
        face=fields.integer("face", 0, 63),
        emotion=fields.text("emotion"),
        box=None
        if not box
        else Box(*(box.need(box.number(k, 0, 1), k) for k in ("x", "y", "width", "height"))),
    )


def _read_candidate(fields: Fields) -> WebrtcCandidate:
    # A browser's RTCIceCandidate is an object; a plain candidate line is taken too.
    source = (
        fields if isinstance(fields.values.get("candidate"), str) else fields.child("candidate")
    )
    return WebrtcCandidate(
        event_id=fields.event_id,
        candidate=source.text("candidate", limit=2_000) or "",
        sdp_mid=source.text("sdpMid"),
        sdp_mline_index=source.integer("sdpMLineIndex", 0, 63),
    )


def _too_large(size: int, event_id: str | None) -> ProtocolError:
    return ProtocolError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"found {size} bytes of audio in one message, expected at most {MAX_AUDIO_BYTES}; "
        "send it in smaller pieces, they may arrive faster than real time",
        "audio",
        event_id,
    )


def _read_append(fields: Fields) -> Append:
    name = "audio" if fields.type == "input_audio_buffer.append" else "delta"
    encoded = fields.need(fields.text(name, limit=None), name)
    if len(encoded) * 3 // 4 > MAX_AUDIO_BYTES:
        raise _too_large(len(encoded) * 3 // 4, fields.event_id)
    try:
        audio = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as reason:
        raise fields.error(
            ErrorCode.INVALID_BASE64,
            f"found text that is no base64 ({reason}), expected base64 of PCM16; "
            "encode the bytes with the standard alphabet and padding",
            name,
        ) from None
    return Append(audio=audio, **_whose(fields))


def _whose(fields: Fields) -> dict[str, Any]:
    return {
        "event_id": fields.event_id,
        "speaker": fields.text("speaker"),
        "item_id": fields.text("item_id"),
    }


def _read_commit(fields: Fields) -> Commit:
    return Commit(**_whose(fields))


def _read_clear_output(fields: Fields) -> ClearOutput:
    return ClearOutput(event_id=fields.event_id, speaker=fields.text("speaker"))


_READERS: dict[str, Any] = {
    "session.update": _read_session_update,
    "webrtc.offer": lambda f: WebrtcOffer(
        event_id=f.event_id, sdp=f.need(f.text("sdp", limit=100_000), "sdp")
    ),
    "webrtc.candidate": _read_candidate,
    "input_audio_buffer.append": _read_append,
    "input_audio_buffer.commit": _read_commit,
    "input_audio_buffer.clear": lambda f: ClearInput(
        event_id=f.event_id, speaker=f.text("speaker")
    ),
    "output_audio_buffer.clear": _read_clear_output,
    "avatar.emotion.update": lambda f: EmotionUpdate(
        event_id=f.event_id,
        emotion=f.need(f.text("emotion"), "emotion"),
        speaker=f.text("speaker"),
        strength=1.0 if (strength := f.number("strength", 0, 1)) is None else strength,
    ),
    "session.close": lambda f: SessionClose(event_id=f.event_id),
    "ping": lambda f: Ping(event_id=f.event_id),
    # A voice model's own events.
    "response.output_audio.delta": _read_append,
    "response.audio.delta": _read_append,
    "response.output_audio.done": _read_commit,
    "response.audio.done": _read_commit,
    "input_audio_buffer.speech_started": _read_clear_output,
    "response.cancelled": _read_clear_output,
}
_VOICE_MODEL_PREFIXES = (
    *("response.", "conversation.", "rate_limits.", "mcp_list_tools.", "transcription_session."),
    "input_audio_buffer.speech_",
)
_VOICE_MODEL_EVENTS = frozenset(
    {
        *("session.created", "session.updated", "error"),
        *("input_audio_buffer.committed", "input_audio_buffer.cleared"),
        "input_audio_buffer.timeout_triggered",
    }
)
