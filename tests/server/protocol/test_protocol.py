import base64
import json
import subprocess
import sys

import pytest

from server import protocol as p


def refused(text: str) -> p.ProtocolError:
    with pytest.raises(p.ProtocolError) as error:
        p.parse_text(text)
    return error.value


def test_an_append_carries_its_bytes_speaker_and_item():
    audio = base64.b64encode(b"\x01\x02\x03").decode()
    event = p.parse_text(
        json.dumps(
            {
                "type": "input_audio_buffer.append",
                "event_id": "e1",
                "audio": audio,
                "speaker": "ana",
                "item_id": "i1",
            }
        )
    )
    assert event == p.Append(audio=b"\x01\x02\x03", speaker="ana", item_id="i1", event_id="e1")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"type": "response.output_audio.delta", "delta": "AAA="}, p.Append(audio=b"\x00\x00")),
        ({"type": "response.audio.delta", "delta": "AAA="}, p.Append(audio=b"\x00\x00")),
        ({"type": "response.output_audio.done"}, p.Commit()),
        ({"type": "response.audio.done", "item_id": "i"}, p.Commit(item_id="i")),
        ({"type": "input_audio_buffer.speech_started"}, p.ClearOutput()),
        ({"type": "response.cancelled"}, p.ClearOutput()),
        ({"type": "response.created", "response": {}}, p.Ignored(type="response.created")),
        ({"type": "rate_limits.updated"}, p.Ignored(type="rate_limits.updated")),
    ],
)
def test_a_voice_models_own_events_may_be_passed_through(sent, meant):
    assert p.parse_text(json.dumps(sent)) == meant


def test_a_session_update_is_read_flat_or_nested_as_openai_nests_it():
    wishes = {
        "character": "ana",
        "speakers": [{"id": "x", "face": 1, "emotion": "happy"}],
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000, "channels": 2}}},
        "preset": "balanced",
        "seed": 7,
    }
    flat = p.parse_text(json.dumps({"type": "session.update", **wishes}))
    nested = p.parse_text(json.dumps({"type": "session.update", "session": wishes}))
    assert flat == nested
    assert flat.rate == 24000
    assert flat.speakers == (p.SpeakerWish("x", 1, None, "happy"),)


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[1]", "invalid_json", "type"),
        ('{"a": 1}', "invalid_json", "type"),
        ('{"type": "ping", "x": NaN}', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"type": "make.coffee"}', "unknown_event", "type"),
        ('{"type": "input_audio_buffer.append"}', "missing_field", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_base64", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 5}', "invalid_field", "audio"),
        ('{"type": "webrtc.offer"}', "missing_field", "sdp"),
        ('{"type": "webrtc.candidate", "candidate": []}', "invalid_field", "candidate"),
        ('{"type": "session.update", "seed": -1}', "invalid_field", "seed"),
        ('{"type": "session.update", "preset": "fast"}', "invalid_field", "preset"),
        ('{"type": "session.update", "speakers": {}}', "invalid_field", "speakers"),
        (
            '{"type": "session.update", "speakers": [{"id": "a", "box": {"x": 2}}]}',
            "invalid_field",
            "speakers.0.box.x",
        ),
        ('{"type": "avatar.emotion.update", "emotion": ""}', "invalid_field", "emotion"),
        (
            '{"type": "avatar.emotion.update", "emotion": "happy", "strength": 1e999}',
            "invalid_field",
            "strength",
        ),
    ],
)
def test_a_malformed_event_is_refused_with_its_field(text, code, param):
    error = refused(text)
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize("rate", ["0", "-16000", "10000000", "16000.5", '"16000"', "true", "7999"])
def test_a_rate_that_cannot_be_is_refused(rate):
    text = '{"type": "session.update", "audio": {"input": {"format": {"rate": RATE}}}}'
    assert refused(text.replace("RATE", rate)).code == "unsupported_rate"


def test_an_error_names_the_event_that_caused_it():
    error = refused('{"type": "input_audio_buffer.append", "event_id": "e9"}')
    sent = json.loads(p.error_event(error).to_json())
    assert sent["error"]["event_id"] == "e9"
    assert sent["error"]["type"] == "invalid_request_error"


def test_a_number_too_large_for_a_float_is_refused():
    text = '{"type": "avatar.emotion.update", "emotion": "happy", "strength": 1%s}' % ("0" * 400)
    assert refused(text).param == "strength"


def test_an_error_about_an_event_whose_id_is_no_unicode_can_be_sent():
    error = refused('{"type": "coffee", "event_id": "\\ud800"}')
    sent = p.error_event(error).to_json().encode()
    assert json.loads(sent)["error"]["event_id"] == "\ud800"


def test_a_voice_models_own_error_is_passed_over():
    assert isinstance(p.parse_text('{"type": "error", "error": {}}'), p.Ignored)


def test_a_binary_append_is_its_header_and_pcm():
    message = p.pack_binary_append(b"abc", 2, 7, commit=True)
    assert message[:12].hex() == "7aa10102" + "07000000" + "01000000"
    assert p.parse_binary(message) == p.Append(audio=b"abc", speaker=2, commit=True, seq=7)


@pytest.mark.parametrize(
    "message", [b"", b"short", b"\x00" * 12, p.pack_binary_append(b"")[:2] + b"\x09" + b"\0" * 9]
)
def test_a_binary_message_without_the_header_is_refused(message):
    with pytest.raises(p.ProtocolError) as error:
        p.parse_binary(message)
    assert error.value.code == "bad_binary_header"


def test_an_append_of_fifty_megabytes_is_refused():
    with pytest.raises(p.ProtocolError) as error:
        p.parse_binary(p.pack_binary_append(b"\0" * 50_000_000))
    assert error.value.code == "message_too_large"


@pytest.mark.parametrize(
    "event",
    [
        p.OutputStarted(item_id="i", speaker="a", media_time_ms=40),
        p.OutputStopped(item_id="i", speaker="a", audio_end_ms=900),
        p.OutputCleared(item_id="i", speaker="a", audio_end_ms=90),
        p.SessionQueued(position=2),
        p.BufferHigh(speaker="a", queued_ms=48_000),
        p.Pong(event_id="x"),
    ],
)
def test_a_server_event_survives_the_wire(event):
    assert p.parse_server_event(event.to_json()) == event


def test_a_client_keeps_reading_events_with_fields_that_it_does_not_know():
    text = '{"type": "pong", "event_id": "x", "moon_phase": 3}'
    assert p.parse_server_event(text) == p.Pong(event_id="x")


def test_the_protocol_needs_only_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); import server.protocol;"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] not in"
        " {*sys.stdlib_module_names, 'server'}])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
