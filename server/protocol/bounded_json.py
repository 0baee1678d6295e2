"""JSON that never takes long to read: short, but for one long string."""

import json
from typing import Any, NoReturn

from server.protocol.errors import ErrorCode, ProtocolError

MAX_CHARS = 131_072
"""Of a message without its long string. An offer may have 100,000 characters."""
SHOWN_CHARS = 300
"""Of a long string where none is expected: more than any name may have."""
MOST_ESCAPES = 32
"""One character in so many may be a backslash: some encoders escape each slash of base64."""


def load_json(text: str) -> Any:
    """The value that `text` is; raises ValueError, RecursionError, or ProtocolError if too long.

    A long string is only whole as a value of the outermost object. Elsewhere its beginning stands
    in its place.
    """
    if len(text) <= MAX_CHARS:
        return json.loads(text, parse_constant=_refuse_constant)
    start, stop = _long_string(text)
    shown = text[start : start + SHOWN_CHARS].replace("\\", "")
    values = json.loads(text[:start] + shown + text[stop:], parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        return values
    for name, value in values.items():
        if value == shown:
            values[name] = _unescaped(text[start:stop])
    return values


def _long_string(text: str) -> tuple[int, int]:
    """The span of the long string's content; ProtocolError if there is none, or more besides."""
    half = MAX_CHARS // 2
    start = text.rfind('"', 0, half) + 1
    stop = text.find('"', start)
    while stop > 0 and text[stop - 1] == "\\" and stop < start + half:
        stop = text.find('"', stop + 1)  # an escaped quotation mark
    if start == 0 or stop < 0 or len(text) - (stop - start) > MAX_CHARS:
        raise ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The message has {len(text)} characters, but at most {MAX_CHARS} are allowed beside "
            "the audio of an append. Send less, or send audio as binary messages.",
        )
    return start, stop


def _unescaped(content: str) -> str:
    if "\\" not in content:
        return content
    if content.count("\\") > len(content) // MOST_ESCAPES:
        raise ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            "A long string of the message consists of escapes. Send audio as plain base64, or as "
            "binary messages.",
        )
    return str(json.loads(f'"{content}"'))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
