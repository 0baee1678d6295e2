"""The module avatar_client.events: what a client needs to know of the protocol, as Python code."""

import inspect
import json
from typing import get_args, get_origin

from server.field_info import DeclaredField, declared_fields
from server.protocol.binary import FLAG_COMMIT, HEADER, MAGIC, VERSION
from server.protocol.client_events import CLIENT_EVENTS, MAX_AUDIO_BYTES, ClientEvent
from server.protocol.errors import ERRORS
from server.protocol.handshake import CLOSE_CODES, SECRET_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from server.protocol.server_events import SERVER_EVENTS
from server.reference.json_schema import parts_of
from server.reference.prose import docstring, paragraph, wrapped

HEAD = f'''\
"""The events of Avatar Server's WebSocket (subprotocol `{SUBPROTOCOL}`), for clients.

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

SUBPROTOCOL = "{SUBPROTOCOL}"
SECRET_SUBPROTOCOL_PREFIX = "{SECRET_SUBPROTOCOL_PREFIX}"
"""Before a client secret or a resume secret, offered as a second subprotocol."""
MAX_AUDIO_BYTES = {MAX_AUDIO_BYTES:_}
"""Audio bytes in one append."""


class EventError(ValueError):
    """A message that is not an event of this protocol, or a newer server's event."""


'''

READING = '''\
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


'''

WRITING = f'''\
def pack_binary_append(
    audio: bytes, speaker_index: int = 0, seq: int = 0, *, commit: bool = False
) -> bytes:
    """An append as a binary message: `audio` is PCM16, `speaker_index` counts from 0.

    `seq` counts the session's binary messages, of all speakers together, so that the server
    notices lost ones. A client that does not count sends 0.
    """
    flags = {FLAG_COMMIT} if commit else 0
    values = (0x{MAGIC:04X}, {VERSION}, speaker_index, seq & 0xFFFFFFFF, flags)
    return struct.pack("{HEADER.format}", *values) + audio


def _event(type: str, **fields: Any) -> dict[str, Any]:
    """The JSON object of a client event, without the fields that are None."""
    return {{"type": type}} | _present(fields)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {{name: _json_value(value) for name, value in fields.items() if value is not None}}


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return _present({{name: getattr(value, name) for name in names}})
    if isinstance(value, tuple | list):
        return [_json_value(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
'''


def client_module() -> str:
    """The source of the module."""
    parts = parts_of([*SERVER_EVENTS.values(), *CLIENT_EVENTS.values()])
    blocks = [
        *[_codes("ErrorCode", "StrEnum", "Codes of errors.", dict(_error_codes()))],
        *[_codes("CloseCode", "IntEnum", "Why a socket was closed.", dict(_close_codes()))],
        *[_dataclass(part, "") for part in parts],
        _SERVER_EVENT,
        *[_dataclass(kind, kind.__bases__[0].__name__) for kind in SERVER_EVENTS.values()],
        _event_table(),
        READING.rstrip("\n"),
        *[_builder(kind) for kind in CLIENT_EVENTS.values()],
        WRITING.rstrip("\n"),
    ]
    return HEAD + "\n\n\n".join(blocks) + "\n"


_SERVER_EVENT = '''\
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """An event from the server."""

    type: ClassVar[str]'''


def _error_codes() -> list[tuple[str, tuple[str, str]]]:
    return [(code.name, (f'"{code}"', info.cause)) for code, info in ERRORS.items()]


def _close_codes() -> list[tuple[str, tuple[str, str]]]:
    return [(code.name, (str(int(code)), info.cause)) for code, info in CLOSE_CODES.items()]


def _codes(name: str, base: str, text: str, members: dict[str, tuple[str, str]]) -> str:
    lines = [f"class {name}({base}):", f'    """{text}"""', ""]
    for member, (value, meaning) in members.items():
        lines += [f"    {member} = {value}", wrapped(f'"""{meaning}"""', "    ")]
    return "\n".join(lines)


def _dataclass(kind: type, base: str) -> str:
    options = "frozen=True, slots=True, kw_only=True" if base else "frozen=True, slots=True"
    head = f"class {kind.__name__}({base}):" if base else f"class {kind.__name__}:"
    lines = [f"@dataclass({options})", head, _doc(kind), ""]
    type_name = getattr(kind, "type", None)
    if base and isinstance(type_name, str):
        lines += [f'    type: ClassVar[str] = "{type_name}"', ""]
    own = inspect.get_annotations(kind)
    for field in declared_fields(kind):
        if field.attribute in own:
            lines += [f"    {field.name}: {_hint(field)}{_default(field)}"]
            lines += [wrapped(f'"""{field.info.text}"""', "    ")]
    return "\n".join(lines).rstrip()


def _doc(kind: type) -> str:
    first, *others = docstring(kind).split("\n\n")
    if not others:
        return _closed(wrapped(f'"""{" ".join(first.split())}', "    "))
    blocks = [wrapped(f'"""{" ".join(first.split())}', "    ")]
    blocks += [wrapped(" ".join(each.split()), "    ") for each in others]
    return "\n\n".join(blocks) + '\n    """'


def _closed(text: str) -> str:
    return text + ('\n    """' if "\n" in text else '"""')


def _hint(field: DeclaredField) -> str:
    is_absent = not field.is_required and field.default is None
    return _type(field) + (" | None" if is_absent else "")


def _type(field: DeclaredField) -> str:
    if field.item is not None:
        return f"tuple[{field.item.__name__}, ...]"
    if get_origin(field.type) is dict:
        return f"dict[str, {get_args(field.type)[1].__name__}]"
    return str(field.type.__name__)


def _default(field: DeclaredField) -> str:
    if field.is_required:
        return ""
    is_text = isinstance(field.default, str)
    return f" = {json.dumps(field.default) if is_text else repr(field.default)}"


def _event_table() -> str:
    lines = ["SERVER_EVENTS: dict[str, type[ServerEvent]] = {"]
    lines += [f'    "{name}": {kind.__name__},' for name, kind in SERVER_EVENTS.items()]
    return "\n".join([*lines, "}"])


def _builder(kind: type[ClientEvent]) -> str:
    """A function that makes the JSON object of one client event."""
    declared = declared_fields(kind)
    needed = [each for each in declared if each.is_required]
    optional = [each for each in declared if not each.is_required and each.name != "event_id"]
    optional += [each for each in declared if each.name == "event_id"]
    fields = needed + optional
    lines = [f"def {kind.type.replace('.', '_')}("]
    lines += [f"    {each.attribute}: {_hint(each)}," for each in needed]
    lines += ["    *,"]
    lines += [f"    {each.attribute}: {_hint(each)}{_default(each)}," for each in optional]
    lines += [") -> dict[str, Any]:", _closed(wrapped(f'"""{paragraph(kind)}', "    "))]
    if [each.attribute for each in fields] == ["event_id"]:
        return "\n".join([*lines, f'    return _event("{kind.type}", event_id=event_id)'])
    lines += ["    return _event(", f'        "{kind.type}",']
    lines += [f"        {each.name}={each.attribute}," for each in fields]
    return "\n".join([*lines, "    )"])
