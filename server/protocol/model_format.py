"""The format of a voice model's speech, as its own session and response events name it."""

from dataclasses import dataclass
from typing import Any

from server.protocol.errors import ErrorCode
from server.protocol.fields import SHOWN_CHARS, JsonObject
from server.protocol.update_parts import MODEL_RATE, RATE

PCM_NAMES = ("audio/pcm", "pcm16", "pcm")


@dataclass(frozen=True, slots=True)
class SpeechFormat:
    """The format of the audio in a voice model's events: mono PCM16 at `rate`, or another `type`.

    A type that is not PCM has no rate.
    """

    type: str
    rate: int | None


def speech_format(sent: JsonObject, part: str) -> SpeechFormat | None:
    """The format that the object `part` of a forwarded event names; None if it names none.

    `audio.output.format` in the API of today, `output_audio_format` in its beta. What is not
    understood is passed over, as the event is not meant for this server; but a rate that cannot
    be is refused.
    """
    body = _object(sent.values.get(part))
    output = _object(_object(body.get("audio")).get("output"))
    named = output.get("format") or body.get("output_audio_format")
    if isinstance(named, str):
        named = {"type": named}
    if not isinstance(named, dict):
        return None
    type_name, rate = named.get("type", PCM_NAMES[0]), named.get("rate")
    if not isinstance(type_name, str):
        return None
    if type_name not in PCM_NAMES:
        return SpeechFormat(type_name[:SHOWN_CHARS], None)
    rate = MODEL_RATE if rate is None else rate
    if not _is_rate(rate):
        raise sent.error(
            ErrorCode.UNSUPPORTED_RATE,
            f"The voice model's speech has the rate {str(rate)[:SHOWN_CHARS]}, but must have a "
            f"whole number from {RATE.low} to {RATE.high}. Resample it, and set "
            "audio.output.format with session.update.",
            f"{part}.audio.output.format.rate",
        )
    return SpeechFormat(PCM_NAMES[0], int(rate))


def _is_rate(rate: Any) -> bool:
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    assert RATE.low is not None
    assert RATE.high is not None
    return is_number and RATE.low <= rate <= RATE.high and rate == int(rate)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
