"""The command line's own reading of its arguments."""

from client_demo.cli import parse_line


def test_a_speaker_is_named_before_its_file(tmp_path):
    odd = tmp_path / "a=b.wav"
    odd.touch()

    assert parse_line("ana=talk.wav")[0] == "ana"
    assert parse_line("talk.wav")[0] is None
    assert parse_line(str(odd)) == (None, odd)
