"""docs/protocol.md: prose from protocol.template.md, tables and examples from the code."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args, get_origin

from server.config import Limits
from server.field_info import DeclaredField, declared_fields
from server.protocol.binary import HEADER, HEADER_FIELDS, pack_binary_append
from server.protocol.client_events import (
    CLIENT_EVENTS,
    FORMAT_EVENTS,
    FORWARDED_EVENTS,
    IGNORED_EVENTS,
    IGNORED_PREFIXES,
    MAX_AUDIO_BYTES,
)
from server.protocol.errors import ERRORS, ErrorCode, ProtocolError
from server.protocol.fields import MAX_NAME_CHARS
from server.protocol.handshake import (
    CLOSE_CODES,
    SECRET_SUBPROTOCOL_PREFIX,
    SUBPROTOCOL,
    CloseCode,
)
from server.protocol.server_events import SERVER_EVENTS, error_body, to_object
from server.protocol.update_parts import MODEL_RATE
from server.reference.examples import example_event
from server.reference.http_routes import http_routes
from server.reference.markdown import anchor, code, code_block, table
from server.reference.prose import paragraph, paragraphs
from server.session.session_info import VIDEO_CODECS

TEMPLATE = Path(__file__).with_name("protocol.template.md")
TYPE_NAMES = {str: "text", bool: "true or false", int: "whole number", float: "number"}


def protocol_page() -> str:
    """The page."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in (_numbers() | _tables()).items():
        assert f"{{{{{name}}}}}" in text, name
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _numbers() -> dict[str, str]:
    limits = Limits()
    ignored = [f"`{prefix}*`" for prefix in IGNORED_PREFIXES]
    ignored += [code(name) for name in sorted(IGNORED_EVENTS)]
    *format_events, last_format_event = map(code, FORMAT_EVENTS)
    refusals = (
        *(ErrorCode.INVALID_FIELD, ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN),
        *(ErrorCode.SESSION_NOT_FOUND, ErrorCode.RATE_LIMITED),
    )
    statuses = [str(ERRORS[each].http_status) for each in refusals]
    return {
        "subprotocol": SUBPROTOCOL,
        "model_rate": f"{MODEL_RATE:,}",
        "format_events": f"{', '.join(format_events)} and {last_format_event}",
        "secret_prefix": SECRET_SUBPROTOCOL_PREFIX,
        "client_secret_s": str(limits.client_secret_ms // 1000),
        "media_timeout_s": str(limits.media_timeout_ms // 1000),
        "peer_timeout_s": str(limits.peer_timeout_ms // 1000),
        "handshake_statuses": f"{', '.join(statuses[:-1])} or {statuses[-1]}",
        "try_later": str(int(CloseCode.TRY_LATER)),
        "video_codecs": " and ".join(VIDEO_CODECS),
        "max_name": str(MAX_NAME_CHARS),
        "max_audio": f"{MAX_AUDIO_BYTES:,}",
        "header_size": str(HEADER.size),
        "header_example": pack_binary_append(b"").hex(" "),
        "ignored": ", ".join(ignored),
    }


def _tables() -> dict[str, str]:
    return {
        "client_index": _index(CLIENT_EVENTS),
        "client_events": _events(CLIENT_EVENTS, is_client=True),
        "server_index": _index(SERVER_EVENTS),
        "server_events": _events(SERVER_EVENTS, is_client=False),
        "header": _header(),
        "forwarded": _forwarded(),
        "errors": _errors(),
        "close_codes": table(
            ("code", "cause", "what to do"),
            [(str(int(each)), info.cause, info.remedy) for each, info in CLOSE_CODES.items()],
        ),
        "http": table(
            ("route", "", "answers"),
            [
                (code(f"{route.method} {route.path}"), "key" if route.needs_key else "", route.text)
                for route in http_routes()
            ],
        ),
        "http_error": _http_error(),
    }


def _index(events: dict[str, Any]) -> str:
    rows = [(f"[`{name}`]({anchor(name)})", paragraph(kind)) for name, kind in events.items()]
    return table(("event", "meaning"), rows)


def _events(events: dict[str, Any], *, is_client: bool) -> str:
    """A section for each event: its text, its fields, an example."""
    sections = []
    for name, kind in events.items():
        fields = _fields_of(kind, is_client=is_client)
        parts = [f"### {name}", paragraphs(kind), fields, code_block(example_event(kind))]
        sections.append("\n\n".join(part for part in parts if part))
    return "\n\n".join(sections)


def _fields_of(kind: Any, *, is_client: bool) -> str:
    """A table of the event's fields; "" if it has none."""
    base = kind.__bases__[0]
    declared = declared_fields(kind)
    if not is_client and declared and declared == declared_fields(base):
        return f"Fields: as in [`{base.type}`]({anchor(base.type)})."
    listed = [each for each in declared if not is_client or each.name != "event_id"]
    rows = [row for each in listed for row in _rows(each, "", is_client=is_client)]
    head = ("field", "type", "range", "meaning") if is_client else ("field", "type", "meaning")
    return table(head, rows) if rows else ""


def _rows(field: DeclaredField, path: str, *, is_client: bool) -> list[tuple[str, ...]]:
    """The field, then the fields of the object that it holds."""
    name = path + field.name
    kind = _type(field)
    required = " (required)" if is_client and field.is_required else ""
    optional = " (optional)" if not is_client and field.default is None else ""
    meaning = field.info.text + _default(field, is_client)
    limits = [_range(field)] if is_client else []
    rows: list[tuple[str, ...]] = [(code(name), kind + required + optional, *limits, meaning)]
    part = field.item if field.item is not None else field.type
    if dataclasses.is_dataclass(part):
        inner = f"{name}[]." if field.item is not None else f"{name}."
        for each in declared_fields(part):
            rows += _rows(each, inner, is_client=is_client)
    return rows


def _type(field: DeclaredField) -> str:
    if dataclasses.is_dataclass(field.type):
        return "object"
    if field.item is not None:
        is_part = dataclasses.is_dataclass(field.item)
        return "list of objects" if is_part else f"list of {TYPE_NAMES[field.item]}"
    if get_origin(field.type) is dict:
        return f"object of {TYPE_NAMES[get_args(field.type)[1]]}s"
    return "base64 text" if field.type is bytes else TYPE_NAMES[field.type]


def _range(field: DeclaredField) -> str:
    info = field.info
    if info.choices:
        return ", ".join(code(each) for each in info.choices)
    if info.low is not None and info.high is not None:
        return f"{info.low:,} to {info.high:,}"
    if info.max_bytes is not None:
        return f"{info.max_bytes:,} bytes"
    is_name = (info.min_chars, info.max_chars) == (1, MAX_NAME_CHARS)
    return "" if info.max_chars is None or is_name else f"up to {info.max_chars:,} characters"


def _default(field: DeclaredField, is_client: bool) -> str:
    if not is_client and field.info.choices and len(field.info.choices) < 5:
        return " One of " + ", ".join(code(each) for each in field.info.choices) + "."
    has_default = is_client and not field.is_required and field.default not in (None, "")
    return f" Default: {field.default}." if has_default else ""


def _header() -> str:
    offset, rows = 0, []
    for each in HEADER_FIELDS:
        rows.append((str(offset), f"u{8 * each.size}", code(each.name), each.text))
        offset += each.size
    return table(("offset", "type", "field", "value"), rows)


def _forwarded() -> str:
    rows = []
    for name, forwarded in FORWARDED_EVENTS.items():
        names = [f"`{theirs}` is the {ours}" for ours, theirs in forwarded.aliases.items()]
        acts_as = f"[`{forwarded.acts_as.type}`]({anchor(forwarded.acts_as.type)})"
        rows.append((code(name), acts_as + (f"; {', '.join(names)}" if names else "")))
    return table(("event", "read as"), rows)


def _errors() -> str:
    rows = [
        (code(each), info.cause, info.remedy, str(info.http_status))
        for each, info in ERRORS.items()
    ]
    return table(("code", "cause", "what to do", "HTTP"), rows)


def _http_error() -> str:
    message = "There is no character 'bob'. Use one of these: iris, maya."
    error = error_body(ProtocolError(ErrorCode.UNKNOWN_CHARACTER, message, "character"))
    return json.dumps({"error": to_object(error)}, indent=2)
