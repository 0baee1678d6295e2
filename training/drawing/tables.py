"""The tables that people and rooms are drawn from.

`read_table` gives a file of tables/ as it is. The files of tables/shapes/ together make
`shape_tables()`: named parts (lists of steps), paints and values. painter.py draws them, and its
docstring lists the keys. A number or a colour in these files may be an expression: numbers, names,
tuples, + - * /, `a if b < c else d`, and calls of FUNCTIONS. It is checked and compiled when the
tables are read, and evaluated when a step is drawn.
"""

from __future__ import annotations

import ast
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from training.drawing.shapes import darker, lighter, mix, ring

FOLDER = Path(__file__).parent / "tables"
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "darker": darker,
    "lighter": lighter,
    "mix": mix,
    "ring": ring,
    "cos": math.cos,
    "sin": math.sin,
    "degrees": math.degrees,
}
RANDOM_FUNCTIONS = ("uniform", "random")  # a painter's own, by its generator
_GLOBALS = {"__builtins__": {}, **FUNCTIONS}
_SYNTAX = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.Call, ast.IfExp),
    *(ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div),
    *(ast.Compare, ast.Lt, ast.Gt, ast.Eq),
)

# The keys of a step: words and flags are taken as they are, all others are expressions.
WORDS = frozenset({"use", "paint", "side", "cap"})
FLAGS = frozenset({"open", "mirror", "outside", "wash", "shine"})
EXPRESSIONS = frozenset(
    {
        *("curves", "band", "blob", "circles", "dots", "oval", "rect", "corner", "line", "arc"),
        *("glow", "hole", "minus", "shift", "at", "turn", "strands", "shadow", "when", "repeat"),
        *("fill", "stroke", "width", "alpha", "colour"),
    }
)
NESTED = frozenset({"with", "gradient", "curls"})  # tables of expressions
PAINT_KEYS = frozenset({"fill", "stroke", "gradient"})

Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ShapeTables:
    """Steps by a part's dotted name, paints by theirs, and named values that steps refer to."""

    parts: dict[str, list[Step]]
    paints: dict[str, Step]
    values: dict[str, CodeType]


class Values(dict[str, Any]):
    """Names that expressions may use; one that is missing is looked up in the tables' values."""

    def __missing__(self, name: str) -> Any:
        return eval(shape_tables().values[name], _GLOBALS, self)

    def of(self, expression: CodeType) -> Any:
        """The value of an expression among these names."""
        return eval(expression, _GLOBALS, self)

    def extended(self, names: Mapping[str, Any]) -> Values:
        """These and other names."""
        return Values({**self, **names})

    def let(self, expressions: Mapping[str, CodeType]) -> Values:
        """These names and the values of expressions, each of which may use those before it."""
        result = Values(self)
        for name, expression in expressions.items():
            result[name] = result.of(expression)
        return result


def read_table(name: str) -> dict[str, Any]:
    """The content of tables/`name`.toml."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


@cache
def shape_tables() -> ShapeTables:
    """All files of tables/shapes, checked. A name that two files define is an error."""
    tables = ShapeTables({}, {}, {})
    for path in sorted((FOLDER / "shapes").glob("*.toml")):
        try:
            _add(tables, tomllib.loads(path.read_text()))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    return tables


def _add(tables: ShapeTables, content: dict[str, Any]) -> None:
    """Take in the content of one file."""
    for name, value in content.pop("values", {}).items():
        _define(tables.values, name, compiled(value))
    for group, paints in content.pop("paint", {}).items():
        for name, paint in paints.items():
            _define(tables.paints, f"{group}.{name}", compiled_step(paint))
    for name, steps in _parts(content, ""):
        _define(tables.parts, name, [compiled_step(step) for step in steps])


def _define(names: dict[str, Any], name: str, value: Any) -> None:
    if name in names:
        raise ValueError(f"{name!r} is defined twice. Give one of the two another name.")
    names[name] = value


def _parts(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[Step]]]:
    """Dotted names and steps of all parts in nested tables."""
    for name, value in content.items():
        if isinstance(value, list):
            yield prefix + name, value
        else:
            yield from _parts(value, f"{prefix}{name}.")


def compiled_step(step: Mapping[str, Any]) -> Step:
    """A step or a paint with its expressions compiled; refuses a key that no painter knows."""
    result: dict[str, Any] = {}
    for key, value in step.items():
        if key in WORDS or key in FLAGS:
            result[key] = value
        elif key in EXPRESSIONS:
            result[key] = compiled(value)
        elif key in NESTED:
            result[key] = {name: compiled(inner) for name, inner in value.items()}
        elif key == "inside":
            result[key] = [compiled_step(inner) for inner in value]
        else:
            known = sorted(WORDS | FLAGS | EXPRESSIONS | NESTED | {"inside"})
            raise ValueError(f"{key!r} is no key of a step. Use one of {', '.join(known)}.")
    return result


def compiled(value: object) -> CodeType:
    """An expression, a number, or nested lists of both, as code; lists become tuples."""
    source = _source(value)
    tree = ast.parse(source, mode="eval")
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if not isinstance(node, _SYNTAX) or (
            called is not None and getattr(called, "id", "") not in {*FUNCTIONS, *RANDOM_FUNCTIONS}
        ):
            raise ValueError(
                f"the expression {source} holds {ast.unparse(node)!r}. Use numbers, names, tuples, "
                f"+ - * /, conditions and calls of {', '.join((*FUNCTIONS, *RANDOM_FUNCTIONS))}."
            )
    return compile(tree, "<table>", "eval")


def _source(value: object) -> str:
    if isinstance(value, list):
        return "(" + "".join(f"{_source(one)}, " for one in value) + ")"
    return f"({value})" if isinstance(value, str) else repr(value)
