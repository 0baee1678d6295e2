from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.character.folders import folder_stamp
from runtime.character.store import (
    DEFAULT_CHARACTER,
    NewCharacter,
    add_character,
    default_character,
    find_character,
    find_characters,
    preview,
)
from runtime.errors import BadInput, NotFound, Taken
from runtime.values import Box
from tests.support.models.small_world import BOXES, draw


def new(tmp_path: Path, **changes: object) -> NewCharacter:
    fields: dict[str, object] = {
        "id": "duo",
        "picture": draw(tmp_path / "d.png", (120, 90)),
        "boxes": BOXES,
    }
    return NewCharacter(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_added_character_is_found_at_the_models_size(tmp_path: Path) -> None:
    root = tmp_path / "characters"
    added = add_character(new(tmp_path, boxes=(Box(0.3, 0.3, 0.2, 0.3),)), root)
    assert added.picture.pixels.shape == (256, 256, 3)
    assert find_character("duo", [root]).digest() == added.digest()
    assert added.speaker_ids == ("speaker-1",)


def test_an_added_picture_is_stored_without_loss(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    made = new(tmp_path, picture=tmp_path / "noise.png", boxes=(Box(0.3, 0.3, 0.2, 0.3),))
    added = add_character(made, tmp_path / "characters")
    assert np.array_equal(added.picture.pixels, noise)


def test_a_stamp_changes_with_any_file_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    assert folder_stamp(folder) == ()
    folder.mkdir()
    stamps = [folder_stamp(folder)]
    (folder / "a").write_text("1")
    stamps.append(folder_stamp(folder))
    (folder / "a").write_text("22")
    stamps.append(folder_stamp(folder))
    (folder / "a").rename(folder / "b")
    stamps.append(folder_stamp(folder))
    assert len(set(stamps)) == 4
    assert folder_stamp(folder) == stamps[-1]


def test_names_go_with_their_boxes_and_numbers_from_the_left(tmp_path: Path) -> None:
    root = tmp_path / "characters"
    right_first = BOXES[::-1]
    square = draw(tmp_path / "square.png")
    added = add_character(
        new(tmp_path, picture=square, boxes=right_first, speakers=("ben", "ana")), root
    )
    assert added.speaker_ids == ("ana", "ben")
    assert added.boxes[0].x < added.boxes[1].x
    other = add_character(new(tmp_path, id="two", picture=square, boxes=right_first), root)
    assert other.speaker_ids == ("speaker-1", "speaker-2")


def test_an_earlier_root_wins_and_lists_are_ordered(tmp_path: Path) -> None:
    square = draw(tmp_path / "square.png")
    for root, name in (("a", "mine"), ("b", "theirs")):
        add_character(new(tmp_path, picture=square, name=name), tmp_path / root)
    add_character(new(tmp_path, id="alf", picture=square), tmp_path / "b")
    found = find_characters([tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert list(found) == ["duo", "alf"]
    assert found["duo"].name == "mine"


def test_nothing_is_left_behind_by_a_failed_addition(tmp_path: Path) -> None:
    root = tmp_path / "characters"
    square = draw(tmp_path / "square.png")
    with pytest.raises(BadInput, match="no id"):
        add_character(new(tmp_path, picture=square, speakers=("Ana!", "ben")), root)
    with pytest.raises(BadInput, match="Name all or none"):
        add_character(new(tmp_path, picture=square, speakers=("ana",)), root)
    with pytest.raises(BadInput, match="same size"):
        add_character(
            new(tmp_path, picture=square, emotions={"sad": draw(tmp_path / "s.png", (80, 80))}),
            root,
        )
    assert not list(root.glob("*"))


@pytest.mark.parametrize("identity", ["../up", "a/b", "", ".", "Duo", "x" * 65, "a b", "-a"])
def test_ids_cannot_leave_the_folder(tmp_path: Path, identity: str) -> None:
    with pytest.raises(BadInput, match="no id"):
        add_character(new(tmp_path, id=identity), tmp_path / "characters")


def test_an_existing_character_is_not_overwritten(tmp_path: Path) -> None:
    square = draw(tmp_path / "square.png")
    add_character(new(tmp_path, picture=square), tmp_path)
    with pytest.raises(Taken, match="exists"):
        add_character(new(tmp_path, picture=square), tmp_path)


def test_an_unknown_character_lists_the_known(tmp_path: Path) -> None:
    add_character(new(tmp_path, picture=draw(tmp_path / "square.png")), tmp_path)
    with pytest.raises(NotFound, match="duo"):
        find_character("bob", [tmp_path])


def test_the_preview_has_the_pictures_size(tmp_path: Path) -> None:
    added = add_character(new(tmp_path, picture=draw(tmp_path / "square.png")), tmp_path)
    assert preview(added).size == (256, 256)


def test_the_speakers_choose_the_character_where_none_is_asked_for(tmp_path: Path) -> None:
    square = draw(tmp_path / "square.png")
    one = add_character(
        new(tmp_path, id="one", picture=square, boxes=BOXES[:1], speakers=("ana",)), tmp_path
    )
    duo = add_character(new(tmp_path, picture=square, speakers=("ana", "ben")), tmp_path)
    both = {"duo": duo, "one": one}
    assert default_character(both) is one
    assert default_character(both, ["ana"]) is one
    assert default_character(both, ["ben"]) is duo
    with pytest.raises(BadInput, match="has the speakers ana, zoe"):
        default_character(both, ["zoe", "ana"])


def test_the_default_is_the_first_of_ones_own_characters_else_the_built_in_one(
    tmp_path: Path,
) -> None:
    assert default_character(find_characters()).id == DEFAULT_CHARACTER
    square = draw(tmp_path / "square.png")
    own = add_character(new(tmp_path, id="zz", picture=square, boxes=BOXES[:1]), tmp_path / "own")
    assert default_character({**find_characters(), "zz": own}) is own
