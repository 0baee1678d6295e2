import base64
import json
import subprocess
import sys

import pytest

from server.protocol.client_events import (
    Append,
    AudioUpdate,
    ClearOutput,
    Commit,
    Ignored,
    InputUpdate,
    ModelFormatNamed,
    OutputUpdate,
    SessionUpdate,
    SpeakerWish,
    WebrtcCandidate,
    parse_text,
)
from server.protocol.errors import ProtocolError
from server.protocol.model_format import SpeechFormat


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


BOX = {"x": 0, "y": 0, "width": 1, "height": 1}
GA = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"}}}


@pytest.mark.fault("rates")
@pytest.mark.parametrize("kind", ["session.created", "session.updated", "response.created"])
@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (GA, SpeechFormat("audio/pcm", 24_000)),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm"}}}},
            SpeechFormat("audio/pcm", 24_000),
        ),
        ({"audio": {"output": {"format": {"rate": 16_000.0}}}}, SpeechFormat("audio/pcm", 16_000)),
        ({"output_audio_format": "pcm16"}, SpeechFormat("audio/pcm", 24_000)),
        (
            {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
            SpeechFormat("audio/pcmu", None),
        ),
        ({"output_audio_format": "g711_alaw"}, SpeechFormat("g711_alaw", None)),
        ({}, None),
        ({"audio": None}, None),
        ({"audio": {"output": {"format": 7}}}, None),
        ({"audio": {"output": []}, "output_audio_format": None}, None),
        ("text", None),
    ],
)
def test_a_voice_models_session_event_names_the_format_of_its_speech(kind, named, meant):
    """A voice model's forwarded session and response events name the format of its speech."""
    part = "response" if kind.startswith("response") else "session"
    event = parse_text(json.dumps({"type": kind, part: named}))
    if meant is None:
        assert event == Ignored(ignored_type=kind)
    else:
        assert event == ModelFormatNamed(format=meant)


@pytest.mark.fault("rates")
@pytest.mark.parametrize("rate", [7_999, 96_000, "24000", 24_000.5, True, -1, 1e300])
def test_a_voice_models_rate_that_cannot_be_is_refused(rate):
    """A forwarded rate that cannot be played is refused, not guessed."""
    named = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": rate}}}}
    assert refused(json.dumps({"type": "session.created", "session": named})).code == (
        "unsupported_rate"
    )


def test_a_forwarded_delta_is_known_as_one():
    delta = parse_text('{"type": "response.output_audio.delta", "delta": "AAA=", "item_id": "i"}')
    append = parse_text('{"type": "input_audio_buffer.append", "audio": "AAA="}')
    assert (delta.is_forwarded, append.is_forwarded) == (True, False)


@pytest.mark.fault("rates")
@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"input_audio_format": "g711_ulaw"}, "input_audio_format"),
        ({"output_audio_format": "g711_alaw"}, "output_audio_format"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "audio.input.format.type"),
        ({"audio": {"output": {"format": {"type": "audio/pcma"}}}}, "audio.output.format.type"),
        ({"audio": {"output": {"format": {"type": "audio/opus"}}}}, "audio.output.format.type"),
        ({"audio": {"input": {"format": "pcm16"}}}, "audio.input.format"),
    ],
)
def test_a_format_that_is_not_pcm_is_refused_wherever_it_may_stand(settings, param):
    """An audio format other than PCM is refused by name in every place where OpenAI has one."""
    flat = refused(json.dumps({"type": "session.update", **settings}))
    assert (flat.code, flat.param) == ("invalid_field", param)
    nested = refused(json.dumps({"type": "session.update", "session": settings}))
    assert nested.param == f"session.{param}"


@pytest.mark.fault("rates")
@pytest.mark.parametrize(
    ("settings", "param", "message"),
    [
        ({"speakrs": [{"id": "x"}]}, "speakrs", "'speakers'"),
        ({"sample_rate": 24_000}, "sample_rate", "Leave it out"),
        ({"rate": 24_000}, "rate", "Leave it out"),
        ({"Preset": "balanced"}, "Preset", "'preset'"),
        ({"audio": {"input": {"fromat": {}}}}, "audio.input.fromat", "'format'"),
        ({"audio": {"input": {"format": {"channel": 2}}}}, "audio.input.format.channel", "'chan"),
        ({"speakers": [{"id": "x", "emotoin": "happy"}]}, "speakers.0.emotoin", "'emotion'"),
        ({"speakers": [{"id": "x", "box": BOX | {"w": 1}}]}, "speakers.0.box.w", "width"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(settings, param, message):
    """A setting that the server does not know is refused, with the name that may be meant."""
    error = refused(json.dumps({"type": "session.update", "session": settings}))
    assert (error.code, error.param) == ("invalid_field", f"session.{param}")
    assert message in str(error)
    assert refused(json.dumps({"type": "session.update", **settings})).param == param


def test_a_setting_beside_the_settings_is_refused():
    text = '{"type": "session.update", "session": {"seed": 1}, "preset": "balanced"}'
    assert refused(text).param == "preset"


def test_settings_of_a_voice_model_alone_are_passed_over():
    settings = {"type": "realtime", "turn_detection": None, "voice": "alloy", "tools": []}
    settings |= {"modalities": ["audio"], "audio": {"input": {"noise_reduction": None}}}
    settings["audio"]["output"] = {"voice": "marin", "speed": 1.0}
    event = parse_text(json.dumps({"type": "session.update", "session": settings}))
    assert event == SessionUpdate(audio=AudioUpdate(InputUpdate(), OutputUpdate()))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "input_audio_buffer.append", "audio": "", "speakr": "ben"},
        {"type": "input_audio_buffer.append", "audio": "", "item": "i", "itemid": "i"},
        {"type": "input_audio_buffer.commit", "speakers": "ben"},
        {"type": "avatar.emotion.update", "emotion": "happy", "strenght": 0.5},
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_name(event):
    assert "Did you mean" in str(refused(json.dumps(event)))


@pytest.mark.parametrize("unknown", [{"moon_phase": 3}, {"x": 1, "": 2}, {"a" * 9_000: 1}])
def test_other_unknown_fields_of_an_event_are_passed_over(unknown):
    sent = {"type": "input_audio_buffer.append", "audio": "AAA=", **unknown}
    assert parse_text(json.dumps(sent)) == Append(audio=b"\0\0")
    sent = {"type": "response.audio.delta", "delta": "AAA=", "speakr": 1}
    assert parse_text(json.dumps(sent)) == Append(audio=b"\0\0")


@pytest.mark.fault("rates")
def test_whole_numbers_may_be_written_with_a_point():
    """JSON has one kind of number: 24000.0 is the whole number 24000, in every field."""
    text = '{"type": "session.update", "seed": 7.0, "speakers": [{"id": "a", "face": 1e0}],'
    text += '"audio": {"input": {"format": {"rate": 24000.0, "channels": 2.0}}}}'
    event = parse_text(text)
    assert (event.seed, event.speakers[0].face) == (7, 1)
    assert (event.input_rate, event.input_format.channels) == (24_000, 2)
    assert isinstance(event.input_rate, int)


def test_the_beta_names_a_rate_by_a_word():
    event = parse_text('{"type": "session.update", "input_audio_format": "pcm16"}')
    assert (event.input_rate, event.model_rate) == (24_000, None)
    event = parse_text('{"type": "session.update", "output_audio_format": "pcm16"}')
    assert (event.input_rate, event.model_rate) == (None, 24_000)
