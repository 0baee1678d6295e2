import json
import shutil
from pathlib import Path

import pytest

from runtime.character.character import CARD, Character
from runtime.errors import BadInput, NotFound
from tests.support.models.small_world import small_character


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_character(tmp_path, ("ana", "ben")).folder


def edit(folder: Path, **fields: object) -> None:
    card = json.loads((folder / CARD).read_text())
    card.update(fields)
    (folder / CARD).write_text(json.dumps(card))


def test_a_folder_becomes_a_character(folder: Path) -> None:
    character = Character.load(folder)
    assert character.speaker_ids == ("ana", "ben")
    assert character.picture.pixels.shape == (64, 64, 3)
    assert (character.picture.width, character.picture.height) == (64, 64)
    assert character.emotion_picture("happy").pixels.shape == (64, 64, 3)
    assert character.emotion_picture("neutral") is character.picture
    assert character.summary()["speakers"][0]["box"]["width"] == pytest.approx(0.25)
    assert character.summary()["emotions"] == ["happy", "neutral"]


def test_images_are_decoded_once_per_character(folder: Path) -> None:
    character = Character.load(folder)
    happy = character.emotion_picture("happy")
    for file in folder.glob("*.webp"):
        file.unlink()
    assert character.emotion_picture("happy") is happy
    assert character.picture.pixels.shape == (64, 64, 3)
    assert not character.picture.pixels.flags.writeable


def test_speakers_are_numbered_from_left_to_right(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    edit(folder, speakers=card["speakers"][::-1])
    assert Character.load(folder).speaker_ids == ("ana", "ben")


def test_the_digest_follows_what_shapes_the_video(folder: Path, tmp_path: Path) -> None:
    before = Character.load(folder).digest()
    copy = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, copy)
    assert Character.load(copy).digest() == before
    edit(copy, name="Another name")
    assert Character.load(copy).digest() == before
    edit(copy, prompt="smiling")
    assert Character.load(copy).digest() != before
    edit(copy, prompt="")
    shutil.copy(copy / "happy.webp", copy / "picture.webp")
    assert Character.load(copy).digest() != before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "../up"}, "no id"),
        ({"id": "other"}, "folder's name"),
        ({"picture": "../../etc/passwd"}, "plain file name"),
        ({"picture": "gone.webp"}, "not there"),
        ({"picture": 3}, "plain file name"),
        ({"speakers": []}, "no face box"),
        ({"speakers": "ana"}, "must be a list"),
        ({"speakers": [{"id": "ana", "box": [0, 0, 1, 1]}]}, "Give numbers"),
        ({"speakers": [{"id": "ana", "box": {"x": "0", "y": 0, "width": 1, "height": 1}}]}, "Give"),
        ({"speakers": [{"id": "ana"}]}, "Required are"),
        ({"speakers": [{"id": "A", "box": {"x": 0, "y": 0, "width": 1, "height": 1}}]}, "no id"),
        ({"emotions": ["happy"]}, "must be an object"),
        ({"emotions": {"happy": "../x.webp"}}, "plain file name"),
        ({"colour": "red"}, "allowed are"),
    ],
)
def test_a_wrong_card_names_its_field(
    folder: Path, fields: dict[str, object], message: str
) -> None:
    edit(folder, **fields)
    with pytest.raises(BadInput, match=message):
        Character.load(folder)


def test_two_speakers_of_one_name_are_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    card["speakers"][1]["id"] = "ana"
    edit(folder, speakers=card["speakers"])
    with pytest.raises(BadInput, match="share an id"):
        Character.load(folder)


def test_unknown_moods_and_speakers_list_the_known(folder: Path) -> None:
    character = Character.load(folder)
    with pytest.raises(NotFound, match="ana, ben"):
        character.speaker_index("bob")
    with pytest.raises(NotFound, match="happy"):
        character.emotion_picture("sad")
    edit(folder, emotions={"furious": "happy.webp"})
    with pytest.raises(NotFound, match="surprised"):
        Character.load(folder)


def test_garbage_is_no_card(folder: Path, tmp_path: Path) -> None:
    (folder / CARD).write_bytes(b"\xff\xfe{")
    with pytest.raises(BadInput, match="no JSON"):
        Character.load(folder)
    (folder / CARD).write_text("[]")
    with pytest.raises(BadInput, match="object is expected"):
        Character.load(folder)
    with pytest.raises(NotFound, match="no character folder"):
        Character.load(tmp_path)
