from pathlib import Path

import pytest

from runtime.errors import BadInput
from runtime.media_files.outputs import check_output, check_video_output, write_text


def test_outputs_are_refused_with_the_option_at_fault(tmp_path: Path) -> None:
    for check in (check_output, check_video_output):
        with pytest.raises(BadInput, match="There is no folder") as refusal:
            check(tmp_path / "none" / "a.mp4")
        assert refusal.value.param == "out"


@pytest.mark.fault("intruders")
def test_a_text_that_finds_no_room_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    """A small file is written whole or keeps its old content."""
    write_text(tmp_path / "a.json", "old")
    (tmp_path / "a.json.part").symlink_to("/dev/full")
    with pytest.raises(BadInput, match=r"a\.json cannot be written: No space left on device"):
        write_text(tmp_path / "a.json", "new" * 10_000)
    assert (tmp_path / "a.json").read_text() == "old"
    write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "new"
