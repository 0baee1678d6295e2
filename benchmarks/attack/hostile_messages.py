"""Random messages for the realtime socket: broken, mutated, and valid ones with extreme values.

They follow the protocol's own description (docs/protocol.schema.json), so that most get past the
first check. The same seed gives the same messages.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avatar_client.events import pack_binary_append

SCHEMA = Path(__file__).parents[2] / "docs" / "protocol.schema.json"
NEVER = {"session.close"}
"""Valid ends of the session: an attacker who leaves is none."""

EXTREMES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 1e308, -1e308, 0.1, 10**400,
    float("nan"), float("inf"), "", " ", "\x00", "\ud800", "🙂" * 40, "a" * 10_000, "../" * 20,
    "speaker-1", "mira", "maya", "interactive", "neutral", "happy", "audio/pcm", 24_000, 16_000,
    [], {}, [[]], [None], {"x": 1}, {"type": "audio/pcm", "rate": 24_000.0}, [{}] * 20,
)  # fmt: skip
OPENAI = (
    "response.created", "response.audio.delta", "response.output_audio.delta", "response.done",
    "session.created", "session.updated", "conversation.item.created", "rate_limits.updated",
)  # fmt: skip


class HostileMessages:
    """An endless supply."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        definitions = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
        self._definitions: dict[str, Any] = definitions
        self._events = [
            found for one in definitions["ClientEvent"]["oneOf"] for found in self._variants(one)
        ]

    def __iter__(self) -> Iterator[str | bytes]:
        makers = (
            self._event, self._event, self._event, self._mutated, self._mutated, self._json,
            self._bytes, self._binary, self._binary, self._speech, self._passed_through,
        )  # fmt: skip
        while True:
            yield self._random.choice(makers)()

    def _variants(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            return self._variants(self._definitions[schema["$ref"].rsplit("/", 1)[1]])
        if "oneOf" in schema:
            return [found for one in schema["oneOf"] for found in self._variants(one)]
        return [schema]

    # ------------------------------------------------------------ kinds of messages

    def _event(self) -> str:
        return json.dumps(self._filled())

    def _filled(self) -> dict[str, Any]:
        """An event of the protocol; each field is left out, valid-looking or extreme."""
        while True:
            event = self._value(self._random.choice(self._events), depth=0)
            if isinstance(event, dict) and event.get("type") not in NEVER:
                return event

    def _mutated(self) -> str:
        """An event's text with a few signs changed, doubled or missing."""
        text = list(json.dumps(self._filled()))
        for _ in range(self._random.randint(1, 5)):
            place = self._random.randrange(len(text))
            text[place] = self._random.choice(["", text[place] * 2, '"', "{", "]", "\\", "9", "e"])
        return "".join(text)

    def _json(self) -> str:
        return json.dumps(self._anything(depth=0))

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice([0, 1, 3, 7, 8, 9, 100, 5_000]))

    def _binary(self) -> bytes:
        """A binary append, with a broken head now and then."""
        pcm = self._random.randbytes(self._random.choice([0, 1, 2, 639, 640, 3_200, 48_000]))
        message = bytearray(pack_binary_append(pcm, self._random.randint(0, 3)))
        if self._random.random() < 0.3:
            message[self._random.randrange(min(8, len(message)))] = self._random.randrange(256)
        return bytes(message)

    def _speech(self) -> str:
        audio = base64.b64encode(self._random.randbytes(self._random.randint(0, 2_000))).decode()
        return json.dumps({"type": "input_audio_buffer.append", "audio": audio})

    def _passed_through(self) -> str:
        name = self._random.choice(OPENAI)
        return json.dumps({"type": name, "delta": self._anything(0), "session": self._anything(0)})

    # ------------------------------------------------------------ values

    def _value(self, schema: dict[str, Any], depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if depth and self._random.random() < 0.3:
            return self._anything(depth)
        for key in ("oneOf", "anyOf"):
            if key in schema:
                return self._value(self._random.choice(schema[key]), depth)
        if "$ref" in schema:
            return self._value(self._definitions[schema["$ref"].rsplit("/", 1)[1]], depth)
        if "properties" in schema:
            return {
                name: self._value(field, depth + 1)
                for name, field in schema["properties"].items()
                if name == "type" or self._random.random() < 0.6
            }
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if "array" in schema.get("type", ()) and "items" in schema:
            return [
                self._value(schema["items"], depth + 1) for _ in range(self._random.randint(0, 3))
            ]
        return self._random.choice(EXTREMES)

    def _anything(self, depth: int) -> Any:
        if depth > 3 or self._random.random() < 0.7:
            return self._random.choice(EXTREMES)
        inner = [self._anything(depth + 1) for _ in range(self._random.randint(0, 4))]
        if self._random.random() < 0.5:
            return inner
        return {str(number): each for number, each in enumerate(inner)}
