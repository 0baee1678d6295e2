from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from runtime.character.character import Character, Speaker
from runtime.character.pictures import ReferenceImage
from runtime.values import Box
from server.protocol.client_events import (
    AudioUpdate,
    FaceBox,
    InputFormatUpdate,
    InputUpdate,
    ModelFormatUpdate,
    OutputUpdate,
    SessionUpdate,
    SpeakerWish,
    VideoUpdate,
)
from server.protocol.errors import ProtocolError
from server.protocol.model_format import SpeechFormat
from server.session.settings import ModelSpeech, Settings, updated
from server.speech.pcm import PcmFormat

PAIR = Character(
    "pair",
    "Pair",
    Path(),
    Path(),
    (Speaker("l", "L", Box(0.1, 0.1, 0.3, 0.3)), Speaker("r", "R", Box(0.6, 0.1, 0.3, 0.3))),
    {"happy": Path("happy.webp")},
)
RATE_24K = AudioUpdate(InputUpdate(InputFormatUpdate(rate=24_000)))
KNOWN = {"pair": PAIR, "other": replace(PAIR, id="other")}
BEFORE = Settings(PAIR, "interactive")


def update(*, is_live: bool = False, **wishes) -> Settings:
    return updated(BEFORE, SessionUpdate(**wishes), KNOWN, is_live=is_live)


def refusal(**wishes) -> str:
    with pytest.raises(ProtocolError) as refused:
        update(**wishes)
    return str(refused.value.code)


def test_what_is_not_wished_stays():
    assert update() == BEFORE
    assert update(audio=RATE_24K).pcm.channels == 1


def test_faces_are_named_by_their_number_from_the_left():
    after = update(speakers=(SpeakerWish("ben", face=1, emotion="happy"),))
    assert after.character.speaker_ids == ("l", "ben")


def test_a_moved_box_renumbers_the_speakers_from_the_left():
    wish = SpeakerWish("l", box=FaceBox(0.7, 0.5, 0.2, 0.2))
    left = SpeakerWish("r", box=FaceBox(0.1, 0.1, 0.3, 0.3))
    assert update(speakers=(wish, left)).character.speaker_ids == ("r", "l")


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"character": "ghost"}, "unknown_character"),
        ({"prompt": "a sunny day"}, "unsupported"),
        ({"speakers": (SpeakerWish("ghost"),)}, "unknown_speaker"),
        ({"speakers": (SpeakerWish("x", face=2),)}, "invalid_field"),
        ({"speakers": (SpeakerWish("r", face=0),)}, "invalid_field"),
        ({"speakers": tuple(SpeakerWish(n, face=0) for n in "abc")}, "invalid_field"),
        ({"speakers": (SpeakerWish("l", box=FaceBox(0.9, 0, 0.5, 0.5)),)}, "invalid_field"),
        ({"speakers": (SpeakerWish("l", box=FaceBox(0.1, 0.1, 0, 0)),)}, "invalid_field"),
        ({"speakers": (SpeakerWish("l", emotion="bored"),)}, "unknown_emotion"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused(wishes, code):
    assert refusal(**wishes) == code


def test_after_the_media_started_only_emotions_format_and_metrics_change():
    assert refusal(is_live=True, character="other") == "media_started"
    assert refusal(is_live=True, preset="balanced") == "media_started"
    moved = SpeakerWish("l", box=FaceBox(0.1, 0.1, 0.3, 0.3))
    assert refusal(is_live=True, speakers=(moved,)) == "media_started"
    assert refusal(is_live=True, speakers=(SpeakerWish("ghost"),)) == "unknown_speaker"
    assert update(is_live=True, audio=RATE_24K, metrics=True).metrics
    happy = update(is_live=True, speakers=(SpeakerWish("l", emotion="happy"),))
    assert happy.character is PAIR


@pytest.fixture
def with_picture(tmp_path) -> Settings:
    """A character whose picture is 96 x 64 pixels."""
    picture = tmp_path / "picture.webp"
    Image.new("RGB", (96, 64)).save(picture)
    return replace(BEFORE, character=replace(PAIR, picture=ReferenceImage.load(picture)))


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize(
    ("video", "param"),
    [
        (VideoUpdate(width=640), "video.width"),
        (VideoUpdate(width=96, height=65), "video.height"),
        (VideoUpdate(fps=30), "video.fps"),
    ],
)
def test_another_video_than_the_characters_is_refused(with_picture, is_live, video, param):
    with pytest.raises(ProtocolError, match="96 x 64 pixels at 25 fps") as refused:
        updated(with_picture, SessionUpdate(video=video), KNOWN, is_live=is_live)
    assert (refused.value.code, refused.value.param) == ("unsupported", param)


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize(
    "video", [VideoUpdate(), VideoUpdate(fps=25), VideoUpdate(width=96, height=64, fps=25)]
)
def test_the_video_that_is_granted_may_be_asked_for(with_picture, is_live, video):
    event = SessionUpdate(video=video)
    assert updated(with_picture, event, KNOWN, is_live=is_live) == with_picture


def model_speech(*events: SessionUpdate | SpeechFormat) -> ModelSpeech:
    """After these updates of the client and formats that the voice model names."""
    settings = BEFORE
    for each in events:
        if isinstance(each, SessionUpdate):
            settings = updated(settings, each, KNOWN, is_live=False)
        else:
            settings = replace(settings, model_speech=settings.model_speech.named(each))
    return settings.model_speech


def said(*, rate: int | None = None, model_rate: int | None = None) -> SessionUpdate:
    output = model_rate and OutputUpdate(ModelFormatUpdate(rate=model_rate))
    return SessionUpdate(audio=AudioUpdate(InputUpdate(InputFormatUpdate(rate=rate)), output))


@pytest.mark.fault("rates")
@pytest.mark.parametrize(
    ("events", "rate"),
    [
        ([], 24_000),
        ([SpeechFormat("audio/pcm", 16_000)], 16_000),
        ([SpeechFormat("audio/pcm", 16_000), SpeechFormat("audio/pcm", 24_000)], 24_000),
        ([said(rate=48_000)], 48_000),
        ([said(rate=48_000), SpeechFormat("audio/pcm", 24_000)], 48_000),
        ([SpeechFormat("audio/pcm", 24_000), said(rate=48_000)], 48_000),
        ([said(rate=48_000, model_rate=8_000), SpeechFormat("audio/pcm", 24_000)], 8_000),
        ([said(), SpeechFormat("audio/pcm", 22_050)], 22_050),
        ([SpeechFormat("audio/pcmu", None), said(model_rate=8_000)], 8_000),
        ([SpeechFormat("audio/pcmu", None), SpeechFormat("audio/pcm", 24_000)], 24_000),
    ],
)
def test_forwarded_speech_has_the_rate_that_was_said_last_by_who_knows_best(events, rate):
    """Forwarded speech counts as 24 kHz, or as the model's events name it, or as you say."""
    assert model_speech(*events).checked() == PcmFormat(rate)


@pytest.mark.fault("rates")
def test_forwarded_speech_that_is_not_pcm_is_refused():
    """A voice model's speech in another format than PCM is refused, not played as noise."""
    with pytest.raises(ProtocolError, match="audio/pcmu"):
        model_speech(SpeechFormat("audio/pcmu", None)).checked()


def test_what_a_voice_model_names_does_not_change_the_clients_own_format():
    settings = replace(BEFORE, model_speech=ModelSpeech().named(SpeechFormat("audio/pcm", 8_000)))
    assert settings.pcm == PcmFormat(16_000)
