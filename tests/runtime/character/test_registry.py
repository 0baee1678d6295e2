import json
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


async def test_the_event_loop_reads_on_another_thread(root: Path) -> None:
    assert list(await CharacterRegistry((root,)).current()) == ["small"]
