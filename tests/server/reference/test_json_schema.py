"""The JSON Schema accepts what the code sends and reads, and refuses what the code refuses."""

import json

import jsonschema
import numpy as np
import pytest
from avatar_client import events as client

from server.config import IceServer, ServerConfig, Webrtc
from server.protocol.client_events import CLIENT_EVENTS, FORWARDED_EVENTS, parse_text
from server.protocol.errors import ProtocolError
from server.protocol.server_events import SERVER_EVENTS
from server.reference.examples import example_event
from server.reference.json_schema import protocol_schema
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client as connected
from tests.support.serving.stand import serving

pytestmark = pytest.mark.slow

SCHEMA = protocol_schema()


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


CLIENT, SERVER = validator("ClientEvent"), validator("ServerEvent")


def test_the_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("kind", CLIENT_EVENTS.values())
def test_the_example_of_a_client_event_is_valid_and_is_read(kind):
    event = example_event(kind)
    CLIENT.validate(event)
    validator(kind.__name__).validate(event)
    assert type(parse_text(json.dumps(event))) is kind


@pytest.mark.parametrize("kind", SERVER_EVENTS.values())
def test_the_example_of_a_server_event_is_valid_and_is_read(kind):
    event = example_event(kind)
    SERVER.validate(event)
    assert client.parse_server_event(json.dumps(event)).type == kind.type


ACCEPTED = [
    {"type": "session.update", "session": {"preset": "balanced", "seed": None}},
    {"type": "session.update", "video": None, "audio": {"input": None}},
    {"type": "webrtc.candidate", "candidate": {"candidate": "", "sdpMid": None}},
    {"type": "webrtc.candidate"},
    {"type": "avatar.emotion.update", "emotion": "happy", "strength": None},
    *({"type": each, "delta": "AAA="} for each in FORWARDED_EVENTS),
    {"type": "ping", "event_id": None, "moon_phase": 3},
]


@pytest.mark.parametrize("event", ACCEPTED)
def test_schema_and_reader_accept_the_same(event):
    CLIENT.validate(event)
    parse_text(json.dumps(event))


REFUSED = [
    {"type": "session.update", "preset": "fast"},
    {"type": "session.update", "session": {"preset": "fast"}},
    {"type": "session.update", "seed": -1},
    {"type": "session.update", "audio": {"input": {"format": {"rate": 7_999}}}},
    {"type": "session.update", "speakers": [{"face": 1}]},
    {"type": "session.update", "speakers": [{"id": "a", "box": {"x": 2}}]},
    {"type": "session.update", "video": {"fps": 0}},
    {"type": "session.update", "metrics": "yes"},
    {"type": "webrtc.offer"},
    {"type": "webrtc.offer", "sdp": None},
    {"type": "webrtc.candidate", "candidate": {"sdpMLineIndex": 64}},
    {"type": "webrtc.candidate", "candidate": []},
    {"type": "input_audio_buffer.append"},
    {"type": "input_audio_buffer.append", "audio": 5},
    {"type": "avatar.emotion.update", "emotion": ""},
    {"type": "avatar.emotion.update", "emotion": "happy", "strength": 1.5},
    {"type": "response.audio.delta"},
    {"type": "make.coffee"},
]


@pytest.mark.parametrize("event", REFUSED)
def test_schema_and_reader_refuse_the_same(event):
    assert not CLIENT.is_valid(event)
    with pytest.raises(ProtocolError):
        parse_text(json.dumps(event))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("made"))


async def test_messages_of_a_real_session_are_valid(root):
    ice = Webrtc(ice_servers=(IceServer(("stun:127.0.0.1:1",)),))
    async with (
        serving(ServerConfig(webrtc=ice), FlashBackend(root)) as stand,
        connected(stand, "?character=pair") as talk,
    ):
        await talk.send("session.update", session={"metrics": True})
        await talk.send("avatar.emotion.update", emotion="bored", event_id="e1")
        await talk.say(np.full(16_000, 9_000, "<i2").tobytes())
        await talk.until(client.OutputStopped)
        await talk.say(np.full(80_000, 9_000, "<i2").tobytes())
        await talk.until(client.OutputStarted, lambda each: each.item_id.endswith("_2"))
        await talk.send("output_audio_buffer.clear")
        await talk.send("input_audio_buffer.clear")
        await talk.send("ping", event_id="e2")
        await talk.send("session.close")
        await talk.until(client.SessionClosed)
        await talk.until(client.MetricsTick)
    for message in talk.messages:
        SERVER.validate(json.loads(message))
        assert "null" not in message
    assert {each.type for each in talk.events} >= {
        "session.created",
        "session.updated",
        "session.closed",
        "webrtc.answer",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        "avatar.state",
        "metrics.tick",
        "pong",
        "error",
    }


def test_what_the_clients_builders_make_is_valid_and_is_read():
    box = client.FaceBox(0.1, 0.1, 0.5, 0.5)
    audio = client.AudioUpdate(client.InputUpdate(client.InputFormatUpdate(rate=24_000)))
    made = [
        client.session_update(speakers=(client.SpeakerWish("a", box=box),), audio=audio, seed=1),
        client.webrtc_offer("v=0"),
        client.webrtc_candidate(candidate="candidate:1", sdp_mid="0"),
        client.input_audio_buffer_append(b"\0\0", speaker="a"),
        client.input_audio_buffer_commit(),
        client.input_audio_buffer_clear(),
        client.output_audio_buffer_clear(speaker="a"),
        client.avatar_emotion_update("happy", strength=0.5),
        client.session_close(),
        client.ping(event_id="e1"),
    ]
    for event in made:
        CLIENT.validate(event)
        assert parse_text(json.dumps(event)).type == event["type"]
    assert len(made) == len(CLIENT_EVENTS)
