import json
import os
import shutil
from pathlib import Path

import pytest

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from tests.support.models.small_world import small_character


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_character(tmp_path).folder.parent


def rename(root: Path, name: str) -> None:
    card = root / "small" / "character.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"name": name}))


def test_a_folder_is_read_once_while_nothing_changes(root: Path, monkeypatch) -> None:
    loads = []
    load = Character.load
    monkeypatch.setattr(Character, "load", lambda folder: loads.append(folder) or load(folder))
    registry = CharacterRegistry((root,))
    first = registry.read()["small"]
    assert registry.read()["small"] is first
    assert len(loads) == 1


def test_a_changed_folder_is_read_again(root: Path) -> None:
    registry = CharacterRegistry((root,))
    registry.read()
    rename(root, "another name")
    assert registry.read()["small"].name == "another name"


def test_a_deleted_folder_is_gone(root: Path) -> None:
    registry = CharacterRegistry((root,))
    registry.read()
    shutil.rmtree(root / "small")
    assert not registry.read()


def test_an_earlier_root_wins(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    rename(other, "the other one")
    assert CharacterRegistry((other, root)).read()["small"].name == "the other one"


def test_a_folder_that_cannot_be_read_is_left_out_and_named_once(root: Path, caplog) -> None:
    broken = root / "broken"
    broken.mkdir()
    (broken / "character.json").write_text("{")
    registry = CharacterRegistry((root,))
    assert list(registry.read()) == ["small"]
    assert list(registry.read()) == ["small"]
    assert [str(broken) in record.getMessage() for record in caplog.records] == [True]


def cards() -> dict[str, bytes]:
    """Cards that no character has, by what is wrong with them."""
    return {
        "half written": b'{"id": "broken", "pict',
        "empty": b"",
        "nested deeply": b"[" * 200_000,
        "a number of thousands of digits": b'{"id": ' + b"1" * 5_000 + b"}",
        "a coordinate of hundreds of digits": json.dumps(
            {
                "id": "broken",
                "picture": "picture.webp",
                "speakers": [{"id": "a", "box": {"x": 10**400, "y": 0, "width": 1, "height": 1}}],
            }
        ).encode(),
        "no text": bytes(range(128, 256)),
        "a list": b"[]",
        "no picture": b'{"id": "broken", "picture": "none.webp", "speakers": []}',
    }


@pytest.mark.fault("pictures")
@pytest.mark.parametrize("card", cards().values(), ids=cards())
def test_one_broken_card_takes_no_other_character_away(root: Path, card: bytes) -> None:
    """A character with a broken card is left out, and the others stay."""
    (root / "broken").mkdir()
    (root / "broken" / "character.json").write_bytes(card)
    registry = CharacterRegistry((root,))
    assert list(registry.read()) == ["small"]
    assert registry.fault_of("broken")
    assert registry.fault_of("small") is None
    assert registry.fault_of("nobody") is None


@pytest.mark.fault("pictures")
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "a lost link", "a loop"])
def test_a_card_that_is_no_file_is_never_opened(root: Path, kind: str) -> None:
    """A character whose card is a folder, a pipe, a device or a broken link is left out."""
    card = root / "broken" / "character.json"
    card.parent.mkdir()
    {
        "a folder": card.mkdir,
        "a pipe": lambda: os.mkfifo(card),
        "a device": lambda: card.symlink_to("/dev/zero"),
        "a lost link": lambda: card.symlink_to("/nonexistent"),
        "a loop": lambda: card.symlink_to(card),
    }[kind]()
    assert list(CharacterRegistry((root,)).read()) == ["small"]


@pytest.mark.fault("pictures")
def test_a_mended_character_is_back(root: Path) -> None:
    """A character is back as soon as its folder is mended, without a restart."""
    card = root / "small" / "character.json"
    whole = card.read_text()
    registry = CharacterRegistry((root,))
    card.write_text(whole[:20])
    assert list(registry.read()) == []
    card.write_text(whole)
    assert list(registry.read()) == ["small"]
    assert registry.fault_of("small") is None


async def test_the_event_loop_reads_on_another_thread(root: Path) -> None:
    assert list(await CharacterRegistry((root,)).current()) == ["small"]
