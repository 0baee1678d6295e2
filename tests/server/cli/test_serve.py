"""What `avatar serve` refuses, in one sentence and before it loads anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli import serve

pytestmark = pytest.mark.fault("shutdown")


@pytest.fixture(autouse=True)
def loads_nothing(monkeypatch, tmp_path):
    """A test fails if the server would load its model."""

    def load(*_: object) -> None:
        raise AssertionError("the server started")

    monkeypatch.setattr(serve, "RuntimeBackend", load)
    monkeypatch.setenv("AVATAR_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def refusal(*arguments: str) -> str:
    """What `avatar serve` says as it refuses."""
    done = CliRunner().invoke(serve.app, ["serve", "--port", "0", *arguments])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.output.count("\n") == 1
    assert done.output.startswith("avatar serve: ")
    return done.output


def listen(tmp_path: Path, **folders: Path) -> str:
    file = tmp_path / "server.toml"
    file.write_text("[listen]\n" + "".join(f'{key} = "{path}"\n' for key, path in folders.items()))
    return str(file)


def test_an_unknown_log_level_is_refused():
    """An unknown log level is refused with those that there are."""
    told = refusal("--log-level", "loud")
    assert "--log-level is 'loud', but must be one of debug, info, warning, error." in told


def test_more_threads_than_any_machine_has_are_refused():
    """Thousands of threads are refused, instead of exhausting the machine."""
    assert "model.threads is 9999, but must be 512 or less." in refusal("--threads", "9999")


@pytest.mark.parametrize("key", ["web_dir", "samples_dir"])
def test_a_missing_folder_to_serve_is_refused(tmp_path, key):
    """A folder of the page or its samples that does not exist is refused."""
    told = refusal("--config", listen(tmp_path, **{key: tmp_path / "none"}))
    assert f"listen.{key}: there is no folder {tmp_path / 'none'}. Name one that exists." in told


@pytest.mark.parametrize("key", ["web_dir", "samples_dir"])
def test_a_file_in_place_of_a_folder_to_serve_is_refused(tmp_path, key):
    """A file in place of the page's folder is refused."""
    (tmp_path / "page.html").touch()
    told = refusal("--config", listen(tmp_path, **{key: tmp_path / "page.html"}))
    assert f"listen.{key}: there is no folder" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "99999"),
        ("--port", "-1"),
        ("--max-sessions", "0"),
        ("--characters", "/nonexistent"),
        ("--checkpoint", "/nonexistent"),
        ("--checkpoint", __file__),
        ("--decoder", "/nonexistent.pth"),
        ("--config", "/nonexistent.toml"),
        ("--config", "/"),
        ("--host", "no host of this name"),
        ("--host", "x" * 70),
        ("--host", "192.0.2.1"),
        ("--device", "tpu"),
    ],
)
def test_what_cannot_work_is_refused(arguments):
    """What cannot work is refused in one sentence, before the model is loaded."""
    assert "Traceback" not in refusal(*arguments)
