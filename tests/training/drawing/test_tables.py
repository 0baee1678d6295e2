"""The tables of shapes: each is valid, is used, and is complete for all names that are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

import pytest

from training.drawing import eyes, mouth
from training.drawing.backgrounds import BACKGROUNDS
from training.drawing.identity import CLOTHES, GLASSES, HAIR_STYLES, NOSES
from training.drawing.tables import FOLDER, Step, compiled, compiled_step, shape_tables

HAIR = {name for names in HAIR_STYLES.values() for name in names}
WORN = {name for names in CLOTHES.values() for name in names}
BEARDS = ("full.cheeks", "stubble.cheeks", "goatee.lip", "moustache.lip")
# What the code asks for by name.
PARTS = {
    *("face.skin", "face.ears", "face.marks", "face.blush"),
    *("body.neck", "body.sleeves", "scarf_over_shoulders", "wall", "vignette"),
    *("shelf.wall", "shelf.book", "shelf.pot", "shelf.board", "shelf.haze"),
}
PAINTS = {
    *("hair.shadow", "hair.shine", "hair.strand", "hair.light_strand"),
    *(f"eye.{name}" for name in eyes.PAINTS),
    *(f"mouth.{name}" for name in mouth.PAINTS),
}
VALUES = {"skull", "shine"}


def chosen_parts() -> set[str]:
    """All parts that some person or room is drawn with."""
    hair = {f"hair.{name}.{layer}" for name in HAIR for layer in ("back", "front")}
    return {
        *PARTS,
        *(hair & shape_tables().parts.keys()),
        *(f"clothes.{name}" for name in WORN),
        *(f"nose.{name}" for name in NOSES),
        *(f"glasses.{name}" for name in GLASSES),
        *(f"beard.{name}" for name in BEARDS),
        *(f"rooms.{name}" for name in BACKGROUNDS if name != "bookshelf"),
    }


def steps_of(parts: Iterable[str]) -> Iterator[Step]:
    """The steps of these parts and of all that they use, each part once."""
    waiting, seen = list(parts), set(parts)
    while waiting:
        steps = list(shape_tables().parts[waiting.pop()])
        while steps:
            step = steps.pop()
            yield step
            steps += step.get("inside", ())
            if "use" in step and step["use"] not in seen:
                seen.add(step["use"])
                waiting.append(step["use"])


def codes_in(value: Any) -> Iterator[CodeType]:
    if isinstance(value, CodeType):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from codes_in(one)


def paints_of(steps: Iterable[Step]) -> set[str]:
    named = [step.get("paint", ()) for step in steps]
    return {name for names in named for name in ([names] if isinstance(names, str) else names)}


def test_every_file_of_tables_is_read() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "cast.toml",
        "identity.toml",
        "palettes.toml",
        "shapes",
    }
    assert {path.suffix for path in (FOLDER / "shapes").iterdir()} == {".toml"}


def test_every_name_that_is_chosen_has_its_parts() -> None:
    assert chosen_parts() <= shape_tables().parts.keys()
    styles = {part.split(".")[1] for part in shape_tables().parts if part.endswith("front")}
    assert styles == HAIR - {"bald"}


def test_every_part_is_used() -> None:
    used = {step["use"] for step in steps_of(chosen_parts()) if "use" in step} | chosen_parts()
    assert used == shape_tables().parts.keys()


def test_every_paint_is_used() -> None:
    assert paints_of(steps_of(chosen_parts())) | PAINTS == shape_tables().paints.keys()


def test_every_value_is_used() -> None:
    tables = shape_tables()
    steps = [*steps_of(chosen_parts()), *tables.paints.values(), tables.values]
    names = {name for step in steps for code in codes_in(step) for name in code.co_names}
    assert tables.values.keys() <= names | VALUES


@pytest.mark.parametrize(
    "expression",
    ["skin.real", "skin[0]", "print(skin)", "lambda: 1", "[x for x in skin]", "darker.mro()"],
)
def test_an_expression_may_only_calculate(expression: str) -> None:
    with pytest.raises(ValueError, match=r"holds .*Use numbers, names"):
        compiled(expression)


def test_nested_lists_become_tuples_with_their_expressions_evaluated() -> None:
    assert eval(compiled([[1, "x + 2"], ["-x", 0.5]]), {"x": 3}) == ((1, 5), (-3, 0.5))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'colours' is no key of a step\. Use one of .*blob"):
        compiled_step({"blob": [[0, 0]], "colours": [1, 2, 3]})
