"""docs/reliability.md: what the server promises when something goes wrong, and the test of each.

    python -m tests.support.faults.page            writes the page
    python -m tests.support.faults.page --check    says whether it is up to date

A promise is the first sentence of the docstring of a test that is marked `@pytest.mark.fault`. If a
whole file is marked (`pytestmark`), its tests with a docstring are promises.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults.groups import GROUPS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reliability.md"
NOT_OFFERED = {
    "livekit": "The server has no LiveKit adapter yet.",
    "pipecat": "The server has no Pipecat adapter yet.",
}
"""Groups about what the server cannot do at all."""

INTRODUCTION = """\
# Reliability

What happens when something goes wrong. Each sentence below is the promise of a test, which runs in
`make test` unless it is marked as nightly. `python -m tests.support.faults.page` writes this page
from the tests; a test checks that every group has its promises.

Longer runs are separate: `make attack` attacks a server in every known way with a healthy session
beside it, and `make soak` runs sessions for hours; [benchmarks.md](benchmarks.md) has their
figures. [SECURITY.md](../SECURITY.md) says who is trusted with what.
"""


@dataclass(frozen=True, slots=True)
class Promise:
    """One marked test: its group, its sentence, and where it is."""

    group: str
    sentence: str
    test: str


def promises() -> list[Promise]:
    """All of them, in the order of the files. ValueError for a marked test without a docstring."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [each for file in files for each in _in_file(file)]


def _in_file(file: Path) -> Iterator[Promise]:
    place = file.relative_to(ROOT).as_posix()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    of_file = [group for node in tree.body for group in _groups_of_file(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            groups = [group for each in node.decorator_list for group in _groups(each)]
            if node.name.startswith("test_") and ast.get_docstring(node):
                groups += of_file
            for group in dict.fromkeys(groups):
                yield Promise(group, _sentence(node, place), f"{place}::{node.name}")


def _groups_of_file(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
        marks = node.value.elts if isinstance(node.value, ast.List) else [node.value]
        yield from (group for mark in marks for group in _groups(mark))


def _groups(mark: ast.expr) -> Iterator[str]:
    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
        yield from (str(ast.literal_eval(each)) for each in mark.args)


def _sentence(function: ast.FunctionDef | ast.AsyncFunctionDef, place: str) -> str:
    text = " ".join((ast.get_docstring(function) or "").split())
    sentence, stop, _ = text.partition(". ")
    if not sentence:
        raise ValueError(
            f"{place}::{function.name} is marked as a promise, but has no docstring. Say in its "
            "first sentence what the server promises."
        )
    return sentence if sentence.endswith((".", "?")) or not stop else f"{sentence}."


def page() -> str:
    """The whole page."""
    found = promises()
    parts = [INTRODUCTION]
    for key, title in GROUPS.items():
        own = [each for each in found if each.group == key]
        parts.append(f"## {title}\n")
        if own:
            parts.append(_table(own))
        else:
            parts.append(NOT_OFFERED.get(key, "No promise yet.") + "\n")
    return "\n".join(parts)


def _table(own: list[Promise]) -> str:
    lines = ["| promise | test |", "|---|---|"]
    lines += [f"| {_cell(each.sentence)} | `{each.test.removeprefix('tests/')}` |" for each in own]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def is_up_to_date() -> bool:
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if is_up_to_date():
            return 0
        print(f"{PAGE} is out of date. Run `python -m tests.support.faults.page`.", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
