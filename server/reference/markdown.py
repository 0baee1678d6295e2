"""Small pieces of Markdown."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 80


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the bars and line breaks in its cells are escaped."""
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines)


def code_block(value: Any) -> str:
    """`value` as JSON, in which an object or a list that fits into a line takes one line."""
    return f"```json\n{_json(value, 0)}\n```"


def _json(value: Any, depth: int) -> str:
    flat = json.dumps(value)
    is_container = isinstance(value, dict | list)
    if not is_container or (depth > 0 and len(flat) + 2 * depth <= WIDTH):
        return flat
    if isinstance(value, dict):
        lines = [f"{json.dumps(name)}: {_json(each, depth + 1)}" for name, each in value.items()]
    else:
        lines = [_json(each, depth + 1) for each in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    indent = "\n" + "  " * (depth + 1)
    return start + indent + f",{indent}".join(lines) + "\n" + "  " * depth + end


def anchor(heading: str) -> str:
    """The link target of a heading, as GitHub makes it."""
    kept = (sign for sign in heading.lower() if sign.isalnum() or sign in "-_ ")
    return "#" + "".join(kept).replace(" ", "-")


def code(text: object) -> str:
    """`text` as inline code, or nothing if it is empty."""
    return f"`{text}`" if str(text) else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
