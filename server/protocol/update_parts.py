"""The objects inside a `session.update`: speakers with their boxes, audio formats, video."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from server.field_info import Info
from server.protocol.errors import ErrorCode
from server.protocol.fields import MAX_NAME_CHARS

MODEL_RATE = 24_000
"""Hz; what the OpenAI Realtime API speaks unless its events say otherwise."""


def name(text: str, example: str | None = None) -> Info:
    """An id or a name."""
    return Info(text, example, min_chars=1, max_chars=MAX_NAME_CHARS)


def fraction(text: str, example: float) -> Info:
    """A number from 0 to 1."""
    return Info(text, example, low=0, high=1)


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A face's rectangle, in fractions of the picture; the origin is the top left corner."""

    x: Annotated[float, fraction("Left edge.", 0.3)]
    y: Annotated[float, fraction("Top edge.", 0.2)]
    width: Annotated[float, fraction("Width.", 0.4)]
    height: Annotated[float, fraction("Height.", 0.5)]


@dataclass(frozen=True, slots=True)
class SpeakerWish:
    """A speaker as the client wants it."""

    id: Annotated[str, name("The speaker's name in this session.", "mira")]
    face: Annotated[
        int | None, Info("The face it gets, counted from the left.", 0, low=0, high=63)
    ] = None
    box: Annotated[FaceBox | None, Info("Another place for the face.")] = None
    emotion: Annotated[str | None, name("The emotion to begin with.", "happy")] = None


def beta_format(text: str) -> Info:
    """A format as the beta of the OpenAI Realtime API names it: one word, which fixes the rate."""
    remedy = "Ask for pcm16 (24,000 Hz), or decode the audio to PCM16 first."
    return Info(text, "pcm16", choices=("pcm16",), remedy=remedy)


def beta_rate(name: str | None) -> int | None:
    """The rate (Hz) of a format of the beta."""
    return MODEL_RATE if name is not None else None


PCM_TYPE = Info(
    "PCM16, little endian.",
    "audio/pcm",
    choices=("audio/pcm",),
    remedy="Ask for PCM16, or decode the audio to PCM16 first.",
)
RATE = Info(
    "Samples a second (Hz).",
    24_000,
    low=8_000,
    high=48_000,
    code=ErrorCode.UNSUPPORTED_RATE,
    remedy="Resample the speech, or correct the rate.",
)


@dataclass(frozen=True, slots=True)
class InputFormatUpdate:
    """The format of the speech that the client sends."""

    type: Annotated[str | None, PCM_TYPE] = None
    rate: Annotated[int | None, RATE] = None
    channels: Annotated[
        int | None, Info("Interleaved channels; they are mixed to mono.", 1, low=1, high=8)
    ] = None


@dataclass(frozen=True, slots=True)
class InputUpdate:
    """What the client sends."""

    format: Annotated[InputFormatUpdate | None, Info("Format of the speech.")] = None


@dataclass(frozen=True, slots=True)
class ModelFormatUpdate:
    """The format of a voice model's forwarded speech; one channel."""

    type: Annotated[str | None, PCM_TYPE] = None
    rate: Annotated[int | None, RATE] = None


@dataclass(frozen=True, slots=True)
class OutputUpdate:
    """What a voice model says, as far as you forward it."""

    format: Annotated[
        ModelFormatUpdate | None, Info("Format of the audio in `response.*.delta`.")
    ] = None


@dataclass(frozen=True, slots=True)
class AudioUpdate:
    """Audio settings."""

    input: Annotated[InputUpdate | None, Info("The client's speech.")] = None
    output: Annotated[
        OutputUpdate | None,
        Info("A voice model's forwarded speech; without it, as the input if that has a rate."),
    ] = None


@dataclass(frozen=True, slots=True)
class VideoUpdate:
    """The video that the client wants. The character's picture fixes it: any other is refused."""

    width: Annotated[int | None, Info("Pixels.", 256, low=16, high=4096)] = None
    height: Annotated[int | None, Info("Pixels.", 256, low=16, high=4096)] = None
    fps: Annotated[int | None, Info("Frames a second.", 25, low=1, high=120)] = None


OPENAI_SESSION_FIELDS = frozenset(
    {
        *("type", "id", "object", "model", "expires_at", "client_secret", "include", "tracing"),
        *("instructions", "reasoning", "tools", "tool_choice", "parallel_tool_calls"),
        *("modalities", "output_modalities", "voice", "speed", "temperature", "truncation"),
        *("max_output_tokens", "max_response_output_tokens", "turn_detection"),
        *("input_audio_transcription", "input_audio_noise_reduction"),
    }
)
"""Settings of an OpenAI Realtime session that concern its voice model alone: passed over."""
OPENAI_FIELDS: Mapping[type, frozenset[str]] = {
    InputUpdate: frozenset({"transcription", "noise_reduction", "turn_detection"}),
    OutputUpdate: frozenset({"voice", "speed"}),
}
"""The same, of the objects inside."""
