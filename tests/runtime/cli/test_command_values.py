"""`avatar characters`: wrong paths, names with brackets, taken ids; each told in one sentence."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.character.store import find_character
from runtime.cli.generate import app
from tests.support.models.small_world import draw, small_character

BOX = ("--box", "0.3,0.2,0.4,0.5")


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["characters", *(str(one) for one in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def refused(*arguments: object) -> str:
    """What a command says that fails, in one line."""
    code, said = call(*arguments)
    assert code == 1, said
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a picture, a file and a folder of characters."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "p.png", (200, 200))
    (tmp_path / "file").touch()
    small_character(tmp_path)
    return tmp_path


@pytest.mark.fault("pictures")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "x", "p.png", *BOX, "--characters", "file"), "file is no folder"),
        (("add", "x", "p.png", *BOX, "--characters", "file/sub"), "Not a directory"),
        (("add", "x", "p.png", *BOX, "--characters", "/proc/x"), "cannot be written"),
        (("add", "x", "gone.png", *BOX, "--characters", "mine"), "no picture file gone.png"),
        (("add", "x", ".", *BOX, "--characters", "mine"), "no picture file"),
        (("add", "x", "file", *BOX, "--characters", "mine"), "it is empty"),
        (("add", "mira", "p.png", *BOX, "--characters", "mine"), "a character mira already"),
        (("add", "small", "p.png", *BOX, "--characters", "characters"), "small exists"),
        (("add", "X[/red]", "p.png", *BOX, "--characters", "mine"), "X[/red]"),
        (("add", "x", "p[/red].png", *BOX, "--characters", "mine"), "p[/red].png"),
        (("add", "x", "p.png", *BOX * 9, "--characters", "mine"), "at most 8"),
        (("add", "x", "p.png", "--box", "nan,0,1,1", "--characters", "mine"), "not numbers"),
        (("add", "x", "p.png", "--box", "1e999,0,1,1", "--characters", "mine"), "not numbers"),
        (("add", "x", "p.png", *BOX, "--name", "a\nb", "--characters", "mine"), "line ends"),
        (("list", "--characters", "file"), "file is no folder"),
        (("list", "--characters", "gone"), "no folder gone"),
        (("preview", "small", "--characters", "file"), "file is no folder"),
        (("preview", "small", "--characters", "characters", "--out", "x.xyz"), "no name of a pic"),
        (("preview", "small", "--characters", "characters", "--out", "/no/x.png"), "no folder /no"),
        (("preview", "small", "--characters", "characters", "--out", "/proc/x.png"), "cannot be w"),
        (("preview", "gone[/b]", "--characters", "characters"), "gone[/b]"),
    ],
)
def test_what_the_user_can_mend_is_told_in_one_sentence(
    here: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Commands for characters tell of wrong paths, names and boxes in one line, before the work."""
    assert message in refused(*arguments)
    assert not (here / "mine").exists() or not list((here / "mine").iterdir())


def test_a_preview_onto_a_folder_or_a_full_disk_leaves_what_was_there(here: Path) -> None:
    (here / "folder.png").mkdir()
    common = ("preview", "small", "--characters", "characters", "--out")
    assert "is a folder" in refused(*common, "folder.png")
    (here / "full.png").symlink_to("/dev/full")
    assert call(*common, "full.png")[0] in {0, 1}
    assert sorted(each.name for each in here.iterdir() if each.name.startswith(".")) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(here: Path) -> None:
    (here / "shut").mkdir(mode=0o555)
    assert "Permission denied" in refused("add", "x", "p.png", *BOX, "--characters", "shut")
    said = refused("preview", "small", "--characters", "characters", "--out", "shut/x.png")
    assert "may not be written" in said


@pytest.mark.fault("pictures")
def test_square_brackets_in_names_are_printed_as_they_are(here: Path) -> None:
    """A name with brackets is a name, not markup."""
    name = "[red]a[/red] [/x]"
    assert call("add", "x", "p.png", *BOX, "--name", name, "--characters", "mine")[0] == 0
    code, said = call("list", "--characters", "mine")
    assert code == 0
    assert "[red]a[/red]" in said
    assert find_character("x", [here / "mine"]).name == name


@pytest.mark.fault("pictures")
def test_a_broken_folder_takes_no_other_character_away(here: Path, caplog) -> None:
    """A character folder that is broken is left out and named; all others are there."""
    for name, card in (("half", "{"), ("none", None), ("deep", "[" * 9999), ("bad", '{"id": 1}')):
        (here / "characters" / name).mkdir()
        if card is not None:
            (here / "characters" / name / "character.json").write_text(card)
    code, said = call("list", "--json", "--characters", "characters")
    assert code == 0
    assert {"small", "mira"} <= {each["id"] for each in json.loads(said)}
    assert sum("is left out" in each.getMessage() for each in caplog.records) == 3
    assert call("preview", "small", "--characters", "characters")[0] == 0
