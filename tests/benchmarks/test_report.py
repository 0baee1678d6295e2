"""docs/benchmarks.md and README's table: generated, complete and up to date."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import REPOSITORY
from benchmarks.record import RESULTS, Result
from benchmarks.report import BEGIN, END, SECTIONS, SHORT, page, short_table, stale, write

RESULT = Result(
    "python -m benchmarks latency", "a machine", "abc1234", "2026-01-02", {"first_move_ms_p50": 400}
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a README, and one result in `results`."""
    (tmp_path / "README.md").write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    RESULT.write(tmp_path / "results" / "latency.json")
    return tmp_path


def test_the_committed_pages_are_up_to_date() -> None:
    assert stale(RESULTS, REPOSITORY) == []


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_a_committed_result_names_its_command_machine_commit_and_day(file: Path) -> None:
    result = Result.read(file)
    assert result.command.startswith("python -m benchmarks ")
    assert all((result.machine, result.commit, result.day, result.values))


def test_a_row_shows_the_figure_and_where_it_comes_from(root: Path) -> None:
    (line,) = [line for line in page(root / "results").splitlines() if "400" in line]
    for text in ("1000 (p50)", "400 / not measured", "`python -m benchmarks latency`",
                 "a machine", "abc1234", "2026-01-02"):  # fmt: skip
        assert text in line


def test_every_row_stands_on_the_page_even_if_it_was_not_measured(root: Path) -> None:
    text = page(root / "results")
    assert all(row.what in text for section in SECTIONS for row in section.rows)
    assert "not measured" in text


def test_notes_of_a_result_stand_below_its_table(root: Path) -> None:
    noted = {"notes": ["the machine was busy"]}
    Result("c", "m", "g", "d", noted).write(root / "results" / "gpu.json")
    assert "- the machine was busy" in page(root / "results")


def test_the_readme_has_seven_rows_with_machine_and_commit(root: Path) -> None:
    lines = short_table(root / "results").splitlines()
    assert len(SHORT) == 7
    assert "| 400 / not measured | a machine | abc1234 |" in lines[3]


def test_writing_keeps_the_text_around_the_marks(root: Path) -> None:
    assert stale(root / "results", root) == [root / "docs" / "benchmarks.md", root / "README.md"]
    write(root / "results", root)
    text = (root / "README.md").read_text()
    assert text.startswith(f"above\n{BEGIN}\n| what |")
    assert text.endswith(f"{END}\nbelow\n")
    assert stale(root / "results", root) == []


def test_a_new_figure_makes_both_pages_stale(root: Path) -> None:
    write(root / "results", root)
    Result("c", "m", "g", "d", {"first_move_ms_p50": 300}).write(root / "results" / "latency.json")
    assert len(stale(root / "results", root)) == 2


def test_a_readme_without_marks_is_refused(root: Path) -> None:
    (root / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="once each"):
        write(root / "results", root)


def test_a_file_that_is_no_result_is_refused_by_name(root: Path) -> None:
    file = root / "results" / "latency.json"
    file.write_text(json.dumps({"values": {}}))
    with pytest.raises(ValueError, match=r"latency\.json is not a result"):
        page(root / "results")
