"""Typed reading of one JSON event, and the error that names what is wrong with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, Self, TypeVar

T = TypeVar("T")

MAX_TEXT = 256
"""Characters in an id or a name."""


class ErrorCode(StrEnum):
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
    INVALID_PICTURE = "invalid_picture"
    INVALID_SDP = "invalid_sdp"
    NO_COMMON_CODEC = "no_common_codec"
    ALREADY_OFFERED = "already_offered"
    NO_OFFER = "no_offer"
    NO_MEDIA = "no_media"
    MEDIA_STARTED = "media_started"
    SESSION_NOT_FOUND = "session_not_found"
    UNAUTHORIZED = "unauthorized"
    SERVER_FULL = "server_full"
    PEER_LOST = "peer_lost"
    GENERATOR_FAILED = "generator_failed"
    INTERNAL = "internal"


class ProtocolError(ValueError):
    """A message that cannot be acted on: what was found, what was expected, what to do."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        param: str | None = None,
        event_id: str | None = None,
        *,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id
        self.retryable = retryable


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a JSON object at `path` inside an event; absent ones read as None."""

    values: dict[str, Any]
    type: str
    event_id: str | None
    path: str = ""

    @classmethod
    def from_json(cls, text: str) -> Self:
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as reason:
            raise ProtocolError(
                ErrorCode.INVALID_JSON,
                f"found text that is no JSON ({str(reason)[:120]}), expected one JSON object; "
                "send one event per text message",
            ) from None
        if not isinstance(values, dict) or not isinstance(values.get("type"), str):
            raise ProtocolError(
                ErrorCode.INVALID_JSON,
                "found JSON without an event type, expected an object with a text field 'type'; "
                'send for example {"type": "ping"}',
                "type",
            )
        event_id = values.get("event_id")
        echoed = event_id[:MAX_TEXT] if isinstance(event_id, str) else None
        return cls(values, values["type"], echoed)

    def __bool__(self) -> bool:
        return bool(self.values)

    def error(self, code: ErrorCode, message: str, name: str | None) -> ProtocolError:
        return ProtocolError(code, message, name and self.path + name, self.event_id)

    def need(self, value: T | None, name: str) -> T:
        """`value`, or the error that field `name` is missing."""
        if value is None:
            raise self.error(
                ErrorCode.MISSING_FIELD,
                f"found {self.type} without '{self.path}{name}', which it needs; add the field",
                name,
            )
        return value

    def text(self, name: str, limit: int | None = MAX_TEXT) -> str | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(name, value, "text")
        if limit is not None and (len(value) > limit or (limit <= MAX_TEXT and not value)):
            raise self._wrong(name, value, f"1 to {limit} characters")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise self._wrong(name, value, "one of " + ", ".join(choices))
        return value

    def boolean(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def number(
        self, name: str, low: float, high: float, code: ErrorCode = ErrorCode.INVALID_FIELD
    ) -> float | None:
        value = self.values.get(name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # false for NaN too
            raise self._wrong(name, value, f"a number from {low} to {high}", code)
        return float(value)

    def integer(
        self, name: str, low: int, high: int, code: ErrorCode = ErrorCode.INVALID_FIELD
    ) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, value, f"a whole number from {low} to {high}", code)
        return value

    def child(self, name: str) -> "Fields":
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return Fields(value or {}, self.type, self.event_id, f"{self.path}{name}.")

    def children(self, name: str) -> list["Fields"] | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._wrong(name, value, "a list of objects")
        return [
            Fields(each, self.type, self.event_id, f"{self.path}{name}.{i}.")
            for i, each in enumerate(value)
        ]

    def _wrong(
        self, name: str, value: object, expected: str, code: ErrorCode = ErrorCode.INVALID_FIELD
    ) -> ProtocolError:
        return self.error(
            code,
            f"found {self.path}{name} = {repr(value)[:60]}, expected {expected}; correct the field",
            name,
        )
