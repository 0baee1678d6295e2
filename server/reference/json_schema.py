"""The JSON Schema (2020-12) of the socket's events, both directions."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from server.field_info import DeclaredField, declared_fields
from server.protocol.client_events import CLIENT_EVENTS, FORWARDED_EVENTS, ClientEvent
from server.protocol.server_events import SERVER_EVENTS
from server.reference.examples import example_event
from server.reference.prose import paragraph

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", bytes: "string"}


def protocol_schema() -> Schema:
    """One document; `$defs` has each event by its class's name, `ClientEvent` and `ServerEvent`."""
    definitions: Schema = {}
    for kind in CLIENT_EVENTS.values():
        definitions[kind.__name__] = _client_event(kind) | {"examples": [example_event(kind)]}
    for type_name, forwarded in FORWARDED_EVENTS.items():
        names = forwarded.aliases
        schema = _object(forwarded.acts_as, names, may_be_null=True, type_name=type_name)
        definitions[type_name] = schema | {
            "description": f"A voice model's own event, read as `{forwarded.acts_as.type}`."
        }
    sent_by_client = list(definitions)
    for event in SERVER_EVENTS.values():
        schema = _object(event, {}, may_be_null=False, type_name=event.type)
        definitions[event.__name__] = schema | {"examples": [example_event(event)]}
    sent_by_server = [event.__name__ for event in SERVER_EVENTS.values()]
    for part in parts_of(CLIENT_EVENTS.values()):
        definitions[part.__name__] = _object(part, {}, may_be_null=True)
    for part in parts_of(SERVER_EVENTS.values()):
        definitions.setdefault(part.__name__, _object(part, {}, may_be_null=False))
    definitions["ClientEvent"] = {"oneOf": [_reference(name) for name in sent_by_client]}
    definitions["ServerEvent"] = {"oneOf": [_reference(name) for name in sent_by_server]}
    return {
        "$schema": DIALECT,
        "title": "Avatar Server, subprotocol avatar.v1",
        "description": "Text messages of the WebSocket /v1/realtime. Generated; do not edit.",
        "anyOf": [_reference("ClientEvent"), _reference("ServerEvent")],
        "$defs": definitions,
    }


def parts_of(kinds: Iterable[type]) -> list[type]:
    """The dataclasses nested in `kinds`, inner ones first, each once."""
    found: list[type] = []
    for kind in kinds:
        for field in declared_fields(kind):
            part = field.item if field.item is not None else field.type
            if dataclasses.is_dataclass(part) and part not in found:
                assert isinstance(part, type)
                inner = [each for each in parts_of([part]) if each not in found]
                found += [*inner, part]
    return found


def _client_event(kind: type[ClientEvent]) -> Schema:
    """A client event; its fields may also stand in an object named `kind.wrapper`."""
    flat = _object(kind, {}, may_be_null=True, type_name=kind.type)
    if kind.wrapper is None:
        return flat
    properties = dict(flat["properties"])
    outside = {name: properties.pop(name) for name in ("type", "event_id")}
    inside = {"type": "object", "properties": properties}
    wrapped = {
        "type": "object",
        "properties": outside | {kind.wrapper: inside},
        "required": ["type", kind.wrapper],
    }
    flat["properties"].setdefault(kind.wrapper, {"type": "null"})
    return {"description": flat.pop("description"), "oneOf": [flat, wrapped]}


def _object(
    kind: type, names: Mapping[str, str], *, may_be_null: bool, type_name: str | None = None
) -> Schema:
    properties: Schema = {}
    if type_name is not None:
        properties["type"] = {"const": type_name}
    required = list(properties)
    for field in declared_fields(kind):
        name = names.get(field.name, field.name)
        properties[name] = _field(field, may_be_null=may_be_null and not field.is_required)
        if field.is_required:
            required.append(name)
    schema: Schema = {"description": paragraph(kind), "type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _field(field: DeclaredField, *, may_be_null: bool) -> Schema:
    schema = _value(field)
    if may_be_null:
        schema = _or_null(schema)
    if not field.is_required and field.default is not None:
        schema["default"] = field.default
    return {"description": field.info.text} | schema


def _value(field: DeclaredField) -> Schema:
    if dataclasses.is_dataclass(field.type):
        return _reference(_name(field.type))
    if field.item is not None:
        is_part = dataclasses.is_dataclass(field.item)
        item = _reference(_name(field.item)) if is_part else {"type": TYPES[field.item]}
        return {"type": "array", "items": item}
    if get_origin(field.type) is dict:
        return {
            "type": "object",
            "additionalProperties": {"type": TYPES[get_args(field.type)[1]]},
        }
    limits = {
        "minimum": field.info.low,
        "maximum": field.info.high,
        "minLength": field.info.min_chars or None,
        "maxLength": field.info.max_chars,
        "enum": [str(each) for each in field.info.choices] or None,
        "contentEncoding": "base64" if field.type is bytes else None,
    }
    present = {name: value for name, value in limits.items() if value is not None}
    return {"type": TYPES[field.type]} | present


def _or_null(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    allowed = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | allowed


def _name(kind: Any) -> str:
    return str(kind.__name__)


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
