from dataclasses import replace
from pathlib import Path

import pytest

from runtime.character.character import Character, Speaker
from runtime.values import Box
from server.protocol.client_events import Box as SentBox
from server.protocol.client_events import SessionUpdate, SpeakerWish
from server.protocol.fields import ProtocolError
from server.session.settings import Settings, updated

PAIR = Character(
    "pair",
    "Pair",
    Path(),
    Path(),
    (Speaker("l", "L", Box(0.1, 0.1, 0.3, 0.3)), Speaker("r", "R", Box(0.6, 0.1, 0.3, 0.3))),
    {"happy": Path("happy.webp")},
)
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
    assert update(rate=24_000).pcm.channels == 1


def test_faces_are_named_by_their_number_from_the_left():
    after = update(speakers=(SpeakerWish("ben", face=1, emotion="happy"),))
    assert after.character.speaker_ids == ("l", "ben")


def test_a_moved_box_renumbers_the_speakers_from_the_left():
    wish = SpeakerWish("l", box=SentBox(0.7, 0.5, 0.2, 0.2))
    left = SpeakerWish("r", box=SentBox(0.1, 0.1, 0.3, 0.3))
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
        ({"speakers": (SpeakerWish("l", box=SentBox(0.9, 0, 0.5, 0.5)),)}, "invalid_field"),
        ({"speakers": (SpeakerWish("l", box=SentBox(0.1, 0.1, 0, 0)),)}, "invalid_field"),
        ({"speakers": (SpeakerWish("l", emotion="bored"),)}, "unknown_emotion"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused(wishes, code):
    assert refusal(**wishes) == code


def test_after_the_media_started_only_emotions_format_and_metrics_change():
    assert refusal(is_live=True, character="other") == "media_started"
    assert refusal(is_live=True, preset="balanced") == "media_started"
    assert refusal(is_live=True, fps=30) == "media_started"
    moved = SpeakerWish("l", box=SentBox(0.1, 0.1, 0.3, 0.3))
    assert refusal(is_live=True, speakers=(moved,)) == "media_started"
    assert refusal(is_live=True, speakers=(SpeakerWish("ghost"),)) == "unknown_speaker"
    assert update(is_live=True, rate=24_000, metrics=True).metrics
    happy = update(is_live=True, speakers=(SpeakerWish("l", emotion="happy"),))
    assert happy.character is PAIR
