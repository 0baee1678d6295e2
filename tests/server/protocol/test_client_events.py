import base64
import json
import subprocess
import sys

import pytest

from server.protocol.client_events import (
    Append,
    ClearOutput,
    Commit,
    Ignored,
    SpeakerWish,
    WebrtcCandidate,
    parse_text,
)
from server.protocol.errors import ProtocolError


def refused(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as error:
        parse_text(text)
    return error.value


def test_an_append_carries_its_bytes_speaker_and_item():
    audio = base64.b64encode(b"\x01\x02\x03").decode()
    event = parse_text(
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
    assert event == Append(audio=b"\x01\x02\x03", speaker="ana", item_id="i1", event_id="e1")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"type": "response.output_audio.delta", "delta": "AAA="}, Append(audio=b"\x00\x00")),
        ({"type": "response.audio.delta", "delta": "AAA="}, Append(audio=b"\x00\x00")),
        ({"type": "response.output_audio.done"}, Commit()),
        ({"type": "response.audio.done", "item_id": "i"}, Commit(item_id="i")),
        ({"type": "input_audio_buffer.speech_started"}, ClearOutput()),
        ({"type": "response.cancelled"}, ClearOutput()),
        ({"type": "response.created", "response": {}}, Ignored(ignored_type="response.created")),
        ({"type": "rate_limits.updated"}, Ignored(ignored_type="rate_limits.updated")),
    ],
)
def test_a_voice_models_own_events_may_be_passed_through(sent, meant):
    assert parse_text(json.dumps(sent)) == meant


def test_a_session_update_is_read_flat_or_nested_as_openai_nests_it():
    wishes = {
        "character": "ana",
        "speakers": [{"id": "x", "face": 1, "emotion": "happy"}],
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000, "channels": 2}}},
        "preset": "balanced",
        "seed": 7,
    }
    flat = parse_text(json.dumps({"type": "session.update", **wishes}))
    nested = parse_text(json.dumps({"type": "session.update", "session": wishes}))
    assert flat == nested
    assert flat.input_format.rate == 24000
    assert flat.speakers == (SpeakerWish("x", 1, None, "happy"),)


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


def test_a_number_too_large_for_a_float_is_refused():
    text = '{"type": "avatar.emotion.update", "emotion": "happy", "strength": 1%s}' % ("0" * 400)
    assert refused(text).param == "strength"


def test_a_voice_models_own_error_is_passed_over():
    assert isinstance(parse_text('{"type": "error", "error": {}}'), Ignored)


def test_a_candidate_is_read_as_the_browsers_object_or_flat():
    line = {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0}
    meant = WebrtcCandidate(candidate="candidate:1", sdp_mid="0", sdp_mline_index=0)
    for sent in ({"candidate": line}, line, {"candidate": line | {"usernameFragment": None}}):
        assert parse_text(json.dumps({"type": "webrtc.candidate", **sent})) == meant


@pytest.mark.parametrize("sent", [{}, {"candidate": ""}, {"candidate": {}}, {"candidate": None}])
def test_no_candidate_says_that_there_are_no_more(sent):
    assert parse_text(json.dumps({"type": "webrtc.candidate", **sent})) == WebrtcCandidate()


def test_null_and_an_empty_object_count_as_absent():
    text = '{"type": "session.update", "speakers": [{"id": "a", "box": {}}], "video": null}'
    event = parse_text(text)
    assert event.speakers == (SpeakerWish("a"),)
    assert event.video is None


def test_an_error_in_a_nested_object_names_the_whole_path():
    text = '{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}}'
    assert refused(text).param == "session.audio.input.format.rate"


def test_the_events_need_neither_torch_nor_numpy():
    code = (
        "import sys; before = set(sys.modules); import server.protocol.client_events;"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] not in"
        " {*sys.stdlib_module_names, 'server', 'runtime'}])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
