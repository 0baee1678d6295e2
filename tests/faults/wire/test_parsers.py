"""Messages made at random from those of the protocol: read, or refused by a ProtocolError."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from server.protocol.binary import pack_binary_append, parse_binary
from server.protocol.client_events import ClientEvent, parse_text
from server.protocol.errors import ProtocolError
from server.protocol.server_events import error_event, to_object
from server.speech.containers import refuse_container
from server.speech.pcm import PcmFormat
from tests.support.speech.lane_player import LanePlayer

CORPUS = Path(__file__).with_name("corpus.jsonl").read_text(encoding="utf-8").splitlines()
MESSAGES = 1_500
NIGHTLY = [pytest.param(seed, marks=pytest.mark.nightly) for seed in range(4, 200)]
SEEDS = [*range(4), *NIGHTLY]
ODD: list[Any] = [
    None, True, False, 0, -1, 1.0, 0.5, 24_000.0, 1e308, 10**400, "", "x", "audio/pcm", "pcm16",
    "\0", "\ud800", "é" * 300, "A" * 5_000, [], {}, [[]], [None], {"x": {}}, [{}] * 20,
    {"type": "audio/opus"}, {"format": {"rate": 7}},
]  # fmt: skip


def altered(rng: random.Random, value: Any) -> Any:
    """`value` with one part of it changed, renamed, removed or copied to another place."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {key: each for key, each in value.items() if key != name}
            case 1:
                return value | {rng.choice([name + "s", name[:-1], name.upper(), "x"]): value[name]}
            case _:
                return value | {name: altered(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        return [*value, altered(rng, rng.choice(value))]
    return rng.choice(ODD)


def spoilt(rng: random.Random, text: str) -> str:
    """`text` with some characters cut out, doubled or replaced."""
    for _ in range(rng.randint(1, 4)):
        a = rng.randrange(len(text) + 1)
        b = min(len(text), a + rng.randint(0, 12))
        text = text[:a] + rng.choice(["", text[a:b] * 2, '"', "}", "\0", "9" * 30]) + text[b:]
    return text


def messages(seed: int):
    rng = random.Random(seed)
    for _ in range(MESSAGES):
        text = rng.choice(CORPUS)
        value = json.loads(text)
        for _ in range(rng.randint(1, 3)):
            value = altered(rng, value)
        yield spoilt(rng, json.dumps(value)) if rng.random() < 0.3 else json.dumps(value)


def outcome(parse, message) -> ClientEvent | ProtocolError:
    try:
        return parse(message)
    except ProtocolError as refused:
        return refused


@pytest.mark.fault("messages")
@pytest.mark.parametrize("seed", SEEDS)
def test_any_text_message_is_read_or_refused(seed):
    """Whatever text arrives is an event, or is refused by an error that can be sent."""
    for message in messages(seed):
        found = outcome(parse_text, message)
        if isinstance(found, ProtocolError):
            sent = json.dumps(to_object(error_event(found)))
            assert len(sent) < 4_000, message
        else:
            assert isinstance(found, ClientEvent)


@pytest.mark.fault("messages")
@pytest.mark.parametrize("seed", SEEDS)
def test_any_binary_message_is_read_or_refused(seed):
    """Whatever bytes arrive are an append, or are refused."""
    rng = random.Random(seed)
    for _ in range(MESSAGES):
        audio = rng.randbytes(rng.choice([0, 1, 2, 11, 640]))
        message = bytearray(pack_binary_append(audio, rng.randrange(256), rng.getrandbits(32)))
        for _ in range(rng.randrange(3)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        message = message[: rng.choice([len(message), rng.randrange(len(message) + 1)])]
        assert isinstance(outcome(parse_binary, bytes(message)), ClientEvent | ProtocolError)


@pytest.mark.fault("messages")
@pytest.mark.parametrize("seed", SEEDS)
def test_any_first_bytes_are_sound_or_a_file(seed):
    """Whatever the first bytes of an item are, they are taken as sound or refused as a file."""
    rng = random.Random(seed)
    heads = [b"RIFF", b"ID3", b"\xff\xfb\x90\x00", b"\xff\xf1\x50\x80", b"FORM", b"{", b"AAAA", b""]
    for _ in range(MESSAGES):
        head = rng.choice(heads) + rng.randbytes(rng.choice([0, 1, 4, 12, 500]))
        if rng.random() < 0.2:
            head = base64.b64encode(head)
        assert outcome(refuse_container, head) is None or len(head) > 2


@pytest.mark.fault("odd-bytes")
@pytest.mark.parametrize("seed", range(20))
def test_bytes_cut_anywhere_are_the_same_sound(seed):
    """Odd numbers of bytes are carried over: any cut into messages gives the same sound."""
    rng = random.Random(seed)
    pcm = PcmFormat(rng.choice([8_000, 24_000, 44_100, 48_000]), rng.randint(1, 3))
    data = bytes(10) + rng.randbytes(rng.randrange(30_000))
    whole, cut = LanePlayer(), LanePlayer()
    whole.say(data, pcm)
    at = 0
    while at < len(data):
        size = rng.choice([1, 2, 3, 7, 1_001])
        cut.lane.append(data[at : at + size], None, pcm)
        at += size
    cut.lane.commit(None)
    assert (whole.play_out().model == cut.play_out().model).all()
