"""Every error that a client can meet: its code, its cause, what to do, and its HTTP status."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The codes of `error` events and of refused HTTP requests; `ERRORS` explains each."""

    INVALID_JSON = "invalid_json"
    UNKNOWN_EVENT = "unknown_event"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    INVALID_BASE64 = "invalid_base64"
    BAD_BINARY_HEADER = "bad_binary_header"
    SEQUENCE_GAP = "sequence_gap"
    MESSAGE_TOO_LARGE = "message_too_large"
    CONTAINER_NOT_PCM = "container_not_pcm"
    UNSUPPORTED_RATE = "unsupported_rate"
    UNSUPPORTED = "unsupported"
    BUFFER_FULL = "buffer_full"
    ITEM_CLOSED = "item_closed"
    EMPTY_COMMIT = "empty_commit"
    UNKNOWN_SPEAKER = "unknown_speaker"
    UNKNOWN_CHARACTER = "unknown_character"
    UNKNOWN_EMOTION = "unknown_emotion"
    CHARACTER_EXISTS = "character_exists"
    STORAGE_FAILED = "storage_failed"
    REQUEST_TIMEOUT = "request_timeout"
    INVALID_PICTURE = "invalid_picture"
    INVALID_SDP = "invalid_sdp"
    NO_COMMON_CODEC = "no_common_codec"
    NO_OFFER = "no_offer"
    NO_MEDIA = "no_media"
    MEDIA_STARTED = "media_started"
    SESSION_NOT_FOUND = "session_not_found"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UPGRADE_REQUIRED = "upgrade_required"
    SERVER_FULL = "server_full"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    SESSION_EXPIRED = "session_expired"
    PEER_LOST = "peer_lost"
    GENERATOR_FAILED = "generator_failed"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    INVALID_TEXT = "invalid_text"
    UNKNOWN_VOICE = "unknown_voice"
    SPEECH_FAILED = "speech_failed"
    SPEECH_TIMEOUT = "speech_timeout"
    SPEECH_NOT_INSTALLED = "speech_not_installed"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why an error occurs, what to do about it, and the status of an HTTP request with it."""

    cause: str
    remedy: str
    http_status: int = 400


ERRORS: dict[ErrorCode, ErrorInfo] = {
    ErrorCode.INVALID_JSON: ErrorInfo(
        "A text message is not JSON, or not an object with a text field `type`.",
        "Send one JSON object with a `type` per text message.",
    ),
    ErrorCode.UNKNOWN_EVENT: ErrorInfo(
        "The `type` is neither an event of this protocol nor a voice model's own event.",
        "Correct the spelling of `type`.",
    ),
    ErrorCode.MISSING_FIELD: ErrorInfo(
        "A required field is absent or null.",
        "Add the field that `param` names.",
    ),
    ErrorCode.INVALID_FIELD: ErrorInfo(
        "A field has the wrong type or is out of range, or fields contradict each other.",
        "Correct the field that `param` names; the message says what is allowed.",
    ),
    ErrorCode.INVALID_BASE64: ErrorInfo(
        "The audio of an append is not base64.",
        "Encode PCM16 bytes with the standard alphabet and padding, or send binary messages.",
    ),
    ErrorCode.BAD_BINARY_HEADER: ErrorInfo(
        "A binary message does not begin with the 12-byte header.",
        "Put magic, version, speaker index, seq and flags before the PCM16, little endian.",
    ),
    ErrorCode.SEQUENCE_GAP: ErrorInfo(
        "`seq` jumped ahead: binary messages were lost, usually while the socket was down.",
        "Nothing; the audio that arrived is played. Use one counter for all speakers of a session.",
    ),
    ErrorCode.MESSAGE_TOO_LARGE: ErrorInfo(
        "A message, the JSON of a message beside its audio, an HTTP body or a picture exceeds its "
        "limit.",
        "Send audio in smaller pieces, or scale the picture down.",
        413,
    ),
    ErrorCode.CONTAINER_NOT_PCM: ErrorInfo(
        "The audio begins like a file (WAV, MP3, AAC, Ogg, WebM) or like text, not like samples.",
        "Decode it to PCM16 and send the samples without a file header, as bytes or one base64.",
    ),
    ErrorCode.UNSUPPORTED_RATE: ErrorInfo(
        "The sample rate is not a whole number from 8,000 to 48,000 Hz.",
        "Resample the speech, or correct `audio.input.format.rate`.",
    ),
    ErrorCode.UNSUPPORTED: ErrorInfo(
        "This server or its model cannot do that: prompts, emotions, another video size.",
        "Leave the field out; `session.created` says what is possible.",
    ),
    ErrorCode.BUFFER_FULL: ErrorInfo(
        "A speaker's queue would exceed `latency.max_buffer_ms`, or hold too many items.",
        "Pause on `buffer.high`, send this append again after `buffer.status`; cut a longer one.",
    ),
    ErrorCode.ITEM_CLOSED: ErrorInfo(
        "The item of that `item_id` was committed, or has ended.",
        "Choose a new `item_id` for each utterance, or leave it out.",
    ),
    ErrorCode.EMPTY_COMMIT: ErrorInfo(
        "A commit arrived for a speaker without an open item.",
        "Append audio first; commit once per utterance.",
    ),
    ErrorCode.UNKNOWN_SPEAKER: ErrorInfo(
        "The session's character has no speaker of that name or number.",
        "Use an `id` from `session.created.speakers`, or rename speakers before the media start.",
    ),
    ErrorCode.UNKNOWN_CHARACTER: ErrorInfo(
        "The server has no character with that id.",
        "Use an id from `GET /v1/characters`.",
        404,
    ),
    ErrorCode.UNKNOWN_EMOTION: ErrorInfo(
        "The character has no reference image for that emotion.",
        "Use one of `capabilities.emotions`.",
    ),
    ErrorCode.CHARACTER_EXISTS: ErrorInfo(
        "A character of that id exists: built in, or added before.",
        "Choose another id, or delete the added one first.",
        409,
    ),
    ErrorCode.STORAGE_FAILED: ErrorInfo(
        "The server cannot write an uploaded character: its disk is full or read-only.",
        "Tell the server's operator; nothing was stored.",
        507,
    ),
    ErrorCode.REQUEST_TIMEOUT: ErrorInfo(
        "An upload did not arrive in time.",
        "Send a smaller picture, or use a faster connection.",
        408,
    ),
    ErrorCode.INVALID_PICTURE: ErrorInfo(
        "An uploaded picture cannot be read, is too large, or is transparent all over.",
        "Send a complete PNG, JPEG or WebP file; the message says what is allowed.",
    ),
    ErrorCode.INVALID_SDP: ErrorInfo(
        "The offer or a candidate is not valid SDP, or asks for no audio or video to receive.",
        "Send the browser's `localDescription.sdp`, with transceivers that receive.",
    ),
    ErrorCode.NO_COMMON_CODEC: ErrorInfo(
        "The offer has no video codec that the server sends.",
        "Offer one of `capabilities.video_codecs`.",
    ),
    ErrorCode.NO_OFFER: ErrorInfo(
        "A candidate arrived before any offer.",
        "Send `webrtc.offer` first.",
    ),
    ErrorCode.NO_MEDIA: ErrorInfo(
        "No `webrtc.offer` arrived in time, so the session was closed to free its slot.",
        "Open a new session and send the offer right after `session.created`.",
    ),
    ErrorCode.MEDIA_STARTED: ErrorInfo(
        "A field that is fixed once an offer was answered changed: character, preset, seed, boxes.",
        "Set it before the offer, or open another session.",
    ),
    ErrorCode.SESSION_NOT_FOUND: ErrorInfo(
        "No session lives under that id and secret; it may have ended meanwhile.",
        "Open a new session.",
        404,
    ),
    ErrorCode.UNAUTHORIZED: ErrorInfo(
        "The API key or client secret is missing, wrong or was used before.",
        "Send `Authorization: Bearer <api key>` or a fresh client secret; see Connecting.",
        401,
    ),
    ErrorCode.FORBIDDEN: ErrorInfo(
        "The page comes from another site, or the server was addressed by a name that it does "
        "not answer to.",
        "Add the page's origin to `listen.allowed_origins`, or let the proxy pass `Host` on.",
        403,
    ),
    ErrorCode.NOT_FOUND: ErrorInfo(
        "The server has nothing at that path.",
        "Correct the path; see HTTP for those there are.",
        404,
    ),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorInfo(
        "The path exists, but not for that HTTP method.",
        "Use a method that the header `Allow` names.",
        405,
    ),
    ErrorCode.UPGRADE_REQUIRED: ErrorInfo(
        "A plain request came to `/v1/realtime`, which is a WebSocket.",
        "Connect with a WebSocket client; a proxy between must pass `Upgrade` and `Connection` on.",
        426,
    ),
    ErrorCode.SERVER_FULL: ErrorInfo(
        "All sessions and all places in the queue are taken.",
        "Try again later; `GET /readyz` tells when.",
        503,
    ),
    ErrorCode.UNAVAILABLE: ErrorInfo(
        "The model is still loading or has failed, or the server is shutting down.",
        "Try again later; `GET /readyz` tells which, and when.",
        503,
    ),
    ErrorCode.RATE_LIMITED: ErrorInfo(
        "The client asks for more of one kind of work than one may, or tried many wrong keys.",
        "Wait as long as the message says, then send the event or request again.",
        429,
    ),
    ErrorCode.SESSION_EXPIRED: ErrorInfo(
        "The session lasted for `limits.max_session_ms`, or its client sent nothing for "
        "`limits.idle_ms`.",
        "Open a new session if you need one.",
    ),
    ErrorCode.PEER_LOST: ErrorInfo(
        "The WebRTC connection was not established, or was lost and not offered again in time.",
        "Check the network and the ICE servers, then open a new session.",
    ),
    ErrorCode.GENERATOR_FAILED: ErrorInfo(
        "The model failed or hung while it generated frames, for this session or for all.",
        "Open a new session, as soon as `GET /readyz` answers 200; if it happens again, report the "
        "server's log.",
        500,
    ),
    ErrorCode.EMPTY_TEXT: ErrorInfo(
        "The text to speak is empty, or has nothing that makes a sound.",
        "Send words to speak.",
    ),
    ErrorCode.TEXT_TOO_LONG: ErrorInfo(
        "The text to speak, or its sound, exceeds the limit, which the message names.",
        "Send it in parts.",
    ),
    ErrorCode.INVALID_TEXT: ErrorInfo(
        "The text holds control characters, or half of a surrogate pair.",
        "Leave them out.",
    ),
    ErrorCode.UNKNOWN_VOICE: ErrorInfo(
        "espeak-ng has no such voice.",
        "Use a language with or without a variant, such as `en-us` or `de+f2`.",
    ),
    ErrorCode.SPEECH_FAILED: ErrorInfo(
        "espeak-ng failed.",
        "Look at the message; update espeak-ng.",
        500,
    ),
    ErrorCode.SPEECH_TIMEOUT: ErrorInfo(
        "espeak-ng took too long.",
        "Send a shorter text.",
        504,
    ),
    ErrorCode.SPEECH_NOT_INSTALLED: ErrorInfo(
        "The server has no espeak-ng; `capabilities.tts` is false.",
        "Install espeak-ng and restart the server, or send speech as audio.",
        501,
    ),
    ErrorCode.INTERNAL: ErrorInfo(
        "A bug in the server.",
        "Open a new session and report the server's log.",
        500,
    ),
}


class ProtocolError(ValueError):
    """A message or request that is refused.

    The text says what happened, what is allowed and what to do. `param` names the field at fault,
    `event_id` the client's event. A `retryable` request may succeed later without any change, after
    `retry_after_s` if that is known.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        param: str | None = None,
        event_id: str | None = None,
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id
        self.retryable = retryable
        self.retry_after_s = retry_after_s


def no_session() -> ProtocolError:
    """Of an id without a session, or with another secret."""
    return ProtocolError(
        ErrorCode.SESSION_NOT_FOUND,
        "No session lives under that id and secret. Open a new one.",
        "session",
    )
