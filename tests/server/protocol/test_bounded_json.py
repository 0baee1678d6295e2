import base64
import json

import pytest

from server.protocol.bounded_json import MAX_CHARS, load_json
from server.protocol.client_events import Append, Ignored, parse_text
from server.protocol.errors import ProtocolError

LARGE = 3_000_000
AUDIO = bytes(range(256)) * (LARGE // 256)
ENCODED = base64.b64encode(AUDIO).decode()


def refusal(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as refused:
        parse_text(text)
    return refused.value


@pytest.mark.fault("messages")
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"type": "input_audio_buffer.append", "audio": ENCODED}),
        json.dumps({"audio": ENCODED, "type": "input_audio_buffer.append", "speaker": "a"}),
        json.dumps({"type": "response.output_audio.delta", "delta": ENCODED, "event_id": "e"}),
        json.dumps({"type": "input_audio_buffer.append", "audio": ENCODED}).replace("/", "\\/"),
        '{"type": "input_audio_buffer.append", "audio":  "' + ENCODED + '"' + " " * 50_000 + "}",
    ],
)
def test_a_long_append_is_read_as_it_was_sent(text):
    """An append of megabytes is taken as text, wherever its audio stands and however escaped."""
    event = parse_text(text)
    assert isinstance(event, Append)
    assert event.audio == AUDIO


@pytest.mark.fault("messages")
@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","x":[' + "[]," * LARGE + "[]]}",
        '{"type":"ping","x":' + "1" * LARGE + "}",
        '{"type":"ping","x":' + "[" * LARGE,
        '{"type":"ping",' + ",".join(f'"{n}":{n}' for n in range(LARGE // 20)) + "}",
        '{"type":"input_audio_buffer.append","audio":"' + ENCODED + '","x":[' + "[]," * MAX_CHARS,
        '{"type":"input_audio_buffer.append","audio":"' + "\\n" * LARGE + '"}',
        "[" * LARGE,
        "x" * LARGE,
        '"' + "x" * LARGE,
        '"' * LARGE,
        '\\"' * LARGE,
        " " * LARGE,
    ],
)
def test_json_that_is_long_without_audio_is_refused_unread(text):
    """Megabytes of JSON are refused before they are parsed, unless they are the audio of one append."""  # noqa: E501
    assert refusal(text).code in ("message_too_large", "invalid_json")


@pytest.mark.fault("messages")
def test_a_long_string_in_a_wrong_place_is_told_by_its_beginning():
    """A huge text in a field for names answers a short error."""
    text = json.dumps({"type": "session.update", "session": {"character": "x" * LARGE}})
    error = refusal(text)
    assert (error.code, error.param) == ("invalid_field", "session.character")
    assert len(str(error)) < 300
    error = refusal(json.dumps({"type": "webrtc.offer", "sdp": "v" * LARGE}))
    assert (error.code, error.param) == ("invalid_field", "sdp")


def test_a_long_event_of_a_voice_model_that_means_nothing_is_still_ignored():
    part = {"type": "audio", "audio": ENCODED}
    event = parse_text(
        json.dumps({"type": "conversation.item.created", "item": {"content": [part]}})
    )
    assert isinstance(event, Ignored)


@pytest.mark.fault("messages")
@pytest.mark.parametrize("depth", [1_000, 40_000, MAX_CHARS - 20])
def test_deep_json_is_refused(depth):
    """JSON as deep as a message allows answers an error."""
    assert refusal("[" * depth).code == "invalid_json"
    assert refusal('{"type":"ping","x":' + "[" * depth).code in (
        "invalid_json",
        "message_too_large",
    )


@pytest.mark.parametrize("length", [MAX_CHARS - 1, MAX_CHARS, MAX_CHARS + 1, MAX_CHARS + 2])
def test_strings_around_the_limit_are_whole(length):
    content = "a" * length
    assert load_json(json.dumps({"type": "t", "x": content}))["x"] == content
