"""Reads one JSON event into the dataclass that declares it, or raises the error that explains it.

The dataclass's annotations (`server.field_info.Info`) drive the reading: types, ranges, required
fields. Null, and {} for an object, count as absent. Fields that are not declared are ignored,
unless `refuse_unknown` or `refuse_misspelt` looks at them.
"""

import base64
import binascii
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.field_info import DeclaredField, Info, declared_fields
from server.protocol.bounded_json import load_json
from server.protocol.errors import ErrorCode, ProtocolError

T = TypeVar("T")

MAX_NAME_CHARS = 256
"""Characters in an id or a name."""
SHOWN_CHARS = 60
UNKNOWN_CHECKED = 16
"""Unknown fields that are compared with the known ones, so that many of them cost little."""
ANY_VALUE = Info("")


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object at `path` inside an event of type `event_type`; read it with `read`.

    `aliases` maps a declared name to the name that this object uses for it.
    """

    values: Mapping[str, Any]
    event_type: str
    event_id: str | None
    path: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)

    def read(self, kind: type[T]) -> T:
        """The object as the dataclass `kind`; raises ProtocolError for the first wrong field."""
        return kind(**{each.attribute: self._field(each) for each in declared_fields(kind)})

    def refuse_unknown(
        self, kind: type, others: frozenset[str], not_ours: Mapping[type, frozenset[str]]
    ) -> None:
        """Raise ProtocolError for a field that `kind`, or an object in it, does not declare.

        `others` are allowed too, and in each object those of `not_ours`.
        """
        declared = {each.name: each for each in declared_fields(kind)}
        known = others | not_ours.get(kind, frozenset())
        for name, value in self.values.items():
            if name not in declared and name not in known:
                raise self._unknown(name, declared)
            inner = declared.get(name)
            if inner is None or not value:
                continue
            if dataclasses.is_dataclass(inner.type):
                self.child(name).refuse_unknown(inner.type, frozenset(), not_ours)  # type: ignore[arg-type]  # a class
            elif inner.item is not None:
                for each in self._children(name, value):
                    each.refuse_unknown(inner.item, frozenset(), not_ours)

    def refuse_misspelt(self, kind: type, others: frozenset[str]) -> None:
        """Raise ProtocolError for an unknown field whose name is nearly that of a known one."""
        declared = {each.name: each for each in declared_fields(kind)}
        unknown = [name for name in self.values if name not in declared and name not in others]
        for name in unknown[:UNKNOWN_CHECKED]:
            if _nearest(name, declared):
                raise self._unknown(name, declared)

    def _unknown(self, name: str, known: Iterable[str]) -> ProtocolError:
        nearest = _nearest(name, known)
        remedy = f"Did you mean {nearest!r}?" if nearest else "Leave it out."
        return self.error(
            ErrorCode.INVALID_FIELD,
            f"{self.event_type} has no field '{self.path}{name[:SHOWN_CHARS]}'; its fields are "
            f"{', '.join(known)}. {remedy}",
            name[:SHOWN_CHARS],
        )

    def child(self, name: str) -> "JsonObject":
        """The object in the field `name`; empty if the field is absent or null."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return JsonObject(value or {}, self.event_type, self.event_id, f"{self.path}{name}.")

    def error(self, code: ErrorCode, message: str, name: str | None) -> ProtocolError:
        """The refusal of this event; `name` is the field at fault."""
        return ProtocolError(code, message, name and self.path + name, self.event_id)

    def _field(self, declared: DeclaredField) -> Any:
        name = self.aliases.get(declared.name, declared.name)
        value = self.values.get(name)
        is_object = dataclasses.is_dataclass(declared.type)
        if value is None or (is_object and value == {}):
            if declared.is_required:
                raise self.error(
                    ErrorCode.MISSING_FIELD,
                    f"{self.event_type} needs the field '{self.path}{name}'. Add it.",
                    name,
                )
            return declared.default
        if is_object:
            return self.child(name).read(declared.type)
        if declared.item is not None:
            return self._objects(name, value, declared.item)
        return _READERS[declared.type](self, name, value, declared)

    def _objects(self, name: str, value: object, item: type[T]) -> tuple[T, ...]:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._wrong(name, value, "a list of objects")
        return tuple(each.read(item) for each in self._children(name, value))

    def _children(self, name: str, values: list[Any]) -> "Iterator[JsonObject]":
        for number, each in enumerate(values):
            place = f"{self.path}{name}.{number}."
            yield JsonObject(each, self.event_type, self.event_id, place)

    def _text(self, name: str, value: object, declared: DeclaredField) -> str:
        info = declared.info
        if not isinstance(value, str):
            raise self._wrong(name, value, "text")
        if info.choices and value not in info.choices:
            raise self._wrong(name, value, "one of " + ", ".join(info.choices), info)
        most = len(value) if info.max_chars is None else info.max_chars
        if not info.min_chars <= len(value) <= most:
            raise self._wrong(name, value, f"{info.min_chars} to {most} characters", info)
        return value

    def _boolean(self, name: str, value: object, declared: DeclaredField) -> bool:
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def _number(self, name: str, value: object, declared: DeclaredField) -> float:
        low, high = _bounds(declared)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # type: ignore[operator]  # false for NaN too
            raise self._wrong(name, value, f"a number from {low} to {high}", declared.info)
        return float(value)  # type: ignore[arg-type]  # a number, as checked

    def _integer(self, name: str, value: object, declared: DeclaredField) -> int:
        low, high = _bounds(declared)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # 24000.0: JSON has one kind of number
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, value, f"a whole number from {low} to {high}", declared.info)
        return value

    def _audio(self, name: str, value: object, declared: DeclaredField) -> bytes:
        if not isinstance(value, str):
            raise self._wrong(name, value, "text")
        most = declared.info.max_bytes
        if most is not None and len(value) * 3 // 4 > most:
            raise too_much_audio(len(value) * 3 // 4, most, self.event_id)
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as reason:
            raise self.error(
                ErrorCode.INVALID_BASE64,
                f"{self.path}{name} is not base64 ({reason}). Encode the PCM16 bytes with the "
                "standard alphabet and padding.",
                name,
            ) from None

    def _wrong(
        self, name: str, value: object, allowed: str, info: Info = ANY_VALUE
    ) -> ProtocolError:
        shown = repr(value)[:SHOWN_CHARS]
        message = f"{self.path}{name} is {shown}, but must be {allowed}. {info.remedy}"
        return self.error(ErrorCode(info.code), message, name)


Reader = Callable[[JsonObject, str, object, DeclaredField], Any]
_READERS: dict[type, Reader] = {
    str: JsonObject._text,
    bool: JsonObject._boolean,
    float: JsonObject._number,
    int: JsonObject._integer,
    bytes: JsonObject._audio,
}


def parse_object(text: str) -> JsonObject:
    """The JSON object in one text message, with a text field `type`; else ProtocolError.

    A long message may hold one long string, as a value of the object itself: the audio of an
    append. The rest has to be short, so that no message takes long to read.
    """
    try:
        values = load_json(text)
    except (ValueError, RecursionError) as reason:
        raise ProtocolError(
            ErrorCode.INVALID_JSON,
            f"The message is not JSON ({str(reason)[:120]}). Send one JSON object per text "
            "message.",
        ) from None
    if not isinstance(values, dict) or not isinstance(values.get("type"), str):
        raise ProtocolError(
            ErrorCode.INVALID_JSON,
            "The message has no event type. Send an object with a text field 'type', for example "
            '{"type": "ping"}.',
            "type",
        )
    event_id = values.get("event_id")
    echoed = event_id[:MAX_NAME_CHARS] if isinstance(event_id, str) else None
    return JsonObject(values | {"event_id": echoed}, values["type"], echoed)


def too_much_audio(size: int, most: int, event_id: str | None = None) -> ProtocolError:
    """The refusal of an append with `size` bytes of audio, more than `most`."""
    return ProtocolError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"One message holds {size} bytes of audio, but at most {most} are allowed. Send smaller "
        "pieces; they may arrive faster than real time.",
        "audio",
        event_id,
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is probably meant to be."""
    found = difflib.get_close_matches(name[:MAX_NAME_CHARS].lower(), list(known), 1, 0.8)
    return found[0] if found else None


def _bounds(declared: DeclaredField) -> tuple[float, float]:
    low, high = declared.info.low, declared.info.high
    assert low is not None, declared.name
    assert high is not None, declared.name
    return low, high
