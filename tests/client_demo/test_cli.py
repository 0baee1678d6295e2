"""The command line of `avatar talk`: its arguments, and mistakes that a user can mend."""

import pytest
from typer.testing import CliRunner

from client_demo.cli import app, parse_line
from tests.support.odd_sounds import pcm16, voice, wav


def test_a_speaker_is_named_before_its_file(tmp_path):
    odd = tmp_path / "a=b.wav"
    odd.touch()

    assert parse_line("ana=talk.wav")[0] == "ana"
    assert parse_line("talk.wav")[0] is None
    assert parse_line(str(odd)) == (None, odd)


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "--out", "t.webm"], "t.webm ends with .webm, and videos are written as .mp4"),
        (["a.wav", "--out", "t"], "t has no ending"),
        (["a.wav", "--out", "."], ". is a folder"),
        (["a.wav", "--out", "none/t.mp4"], "There is no folder none"),
        (["a.wav", "--out", "/sys/t.mp4"], "/sys/t.mp4 cannot be written: "),
        (["film.mp4", "--out", "./film.mp4"], "is also the input film.mp4"),
        (["a.wav", "--url", "http://127.0.0.1:99999"], "is not the address of an avatar server"),
        (["a.wav", "--url", "http://[::1"], "is not the address of an avatar server"),
        (["a.wav", "--url", "http://127.0.0.1:1"], "No avatar server answers at ws://127.0.0.1:1"),
        (["a.wav", "--url", "http://127.0.0.1:1", "--api-key", "schlüssel"], "The API key has"),
        (["x[final].wav"], "There is no file x[final].wav"),
        (["x[/red].wav"], "There is no file x[/red].wav"),
        (["y" * 300], "There is no file yyy"),
        (["."], "There is no sound file .: it is a folder"),
        (["empty.wav"], "empty.wav cannot be read as sound: it is empty"),
    ],
)
def test_a_mistake_is_one_sentence_before_any_work(tmp_path, monkeypatch, arguments, message):
    """A mistake on the command line is one sentence on stderr, before any work."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(wav(pcm16(voice())))
    (tmp_path / "film.mp4").write_bytes(wav(pcm16(voice())))
    (tmp_path / "empty.wav").touch()
    before = sorted(tmp_path.iterdir())

    result = CliRunner().invoke(app, ["talk", *arguments])

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.fault("intruders")
def test_a_key_that_is_refused_is_not_shown(tmp_path):
    """An API key that cannot be right is never printed."""
    (tmp_path / "a.wav").write_bytes(wav(pcm16(voice())))
    out = ["--out", str(tmp_path / "t.mp4"), "--api-key", "geheim-schlüssel"]
    result = CliRunner().invoke(app, ["talk", str(tmp_path / "a.wav"), *out])
    assert "geheim" not in result.output
