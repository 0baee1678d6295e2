"""docs/configuration.md: every key of the configuration."""

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from runtime.engine.kinds import PRECISIONS
from server.config import IceServer, Key, ServerConfig
from server.field_info import DeclaredField, declared_fields
from server.reference.markdown import code, table
from server.reference.prose import paragraph

TEMPLATE = Path(__file__).with_name("configuration.template.md")
TYPE_NAMES = {str: "text", bool: "true or false", int: "whole number", Path: "path"}
LIST_NAMES = {str: "text", Path: "paths"}
GROUPED = 10_000  # numbers from here on are written with _ between thousands


def configuration_page() -> str:
    """The page."""
    tables = get_type_hints(ServerConfig)
    sections = [_section(f"`[{name}]`", kind) for name, kind in tables.items()]
    ice = _section("`[[webrtc.ice_servers]]`", IceServer)
    rows = [(code(name), ", ".join(map(code, each))) for name, each in PRECISIONS.items()]
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("{{tables}}", "\n\n".join([*sections, ice]))
    return text.replace("{{engines}}", table(("engine", "precisions"), rows))


def _section(title: str, kind: type) -> str:
    rows = [_row(each) for each in declared_fields(kind)]
    head = ("key", "type", "default", "range", "meaning", "flag, environment")
    return "\n\n".join([f"## {title}", paragraph(kind), table(head, rows)])


def _row(field: DeclaredField) -> tuple[str, ...]:
    info = field.info
    assert isinstance(info, Key)
    ways = ", ".join(code(each) for each in (info.flag, info.env) if each)
    return (code(field.attribute), _type(field), _default(field), _range(info), info.text, ways)


def _type(field: DeclaredField) -> str:
    if field.item is None:
        return TYPE_NAMES[field.type]
    is_table = dataclasses.is_dataclass(field.item)
    return "tables" if is_table else f"list of {LIST_NAMES[field.item]}"


def _default(field: DeclaredField) -> str:
    info = field.info
    assert isinstance(info, Key)
    if info.default_text:
        return info.default_text
    return "none" if field.default in (None, ()) else code(_toml(field.default))


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, int):
        return f"{value:_}" if value >= GROUPED else str(value)
    return f'"{value}"'


def _range(info: Key) -> str:
    if info.choices:
        return ", ".join(code(each) for each in info.choices)
    if info.low is not None:
        most = "or more" if info.high is None else f"to {info.high:,}"
        return f"{info.low:,} {most}"
    return f"{info.min_chars} characters or more" if info.min_chars else ""
