import importlib
import logging
import subprocess
import sys

import onnxruntime
import pytest
import typer

from runtime.cli.command_values import own_characters
from runtime.errors import AvatarError
from server.cli import serve as cli_serve
from server.cli.avatar import COMMANDS
from server.config import Listen, ServerConfig
from server.config_file import load_config
from tests.support.serving.flash import FlashBackend

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Own characters of these tests stay out of the developer's home."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli.avatar", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command_without_loading_their_modules():
    code = (
        "import sys, server.cli.avatar as cli; sys.argv = ['avatar', '--help']; cli.main();"
        "assert not {'torch', 'fastapi', 'runtime', 'client_demo', 'numpy'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in out.stdout for name in ("serve", "talk", "generate", "characters"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_app_that_knows_it(name):
    command = COMMANDS[name]
    app = importlib.import_module(command.module).app
    assert isinstance(app, typer.Typer)
    group = typer.main.get_group(app)
    assert command.is_group or name in group.commands


def test_an_unknown_command_is_refused_with_the_ones_there_are():
    done = run("sing")
    assert done.returncode == 2
    assert "serve, talk, generate, official, characters" in done.stderr


def test_serving_beyond_this_machine_without_a_key_is_refused():
    done = run("serve", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "listen.api_key" in done.stderr


def test_a_checkpoint_without_weights_fails_with_its_path_and_what_to_do(tmp_path):
    done = run("serve", "--port", "0", "--checkpoint", str(tmp_path))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert "avatar serve: " in done.stderr


def printed_config(*arguments: str) -> str:
    done = run("serve", "--print-config", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_printed_configuration_is_read_back_as_it_was(tmp_path):
    printed = printed_config("--port", "1234", "--max-sessions", "3", "--preset", "broadcast")
    file = tmp_path / "server.toml"
    file.write_text(printed)
    assert printed_config("--config", str(file)) == printed
    assert load_config(file).limits.max_sessions == 3


def test_the_printed_configuration_holds_no_secret():
    printed = printed_config("--api-key", "0123456789abcdef")
    assert "0123456789abcdef" not in printed
    assert "api_key is set, and not shown; pass it by AVATAR_API_KEY" in printed


def test_own_characters_are_found_whatever_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "data" / "avatar-server" / "characters"
    assert own_characters() == own
    assert f'characters = ["{own}"]' in printed_config()
    assert own.is_dir()


def test_a_server_starts_without_a_place_for_own_characters(monkeypatch, tmp_path):
    (tmp_path / "data").write_text("a file, so no folder can be made in it")
    assert "characters = []" in printed_config()


def test_sessions_begin_with_a_preset_that_there_is():
    done = run("serve", "--port", "0", "--preset", "fast")
    assert done.returncode == 1
    assert "model.default_preset is 'fast', but must be one of interactive" in done.stderr


def test_a_provider_that_is_not_here_fails_in_one_line_before_the_server_listens():
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("cuda is here")
    done = run("serve", "--port", "0", "--engine", "onnx", "--provider", "cuda")
    assert done.returncode == 1
    assert "Ready" not in done.stdout
    assert "Traceback" not in done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith("avatar serve: CUDAExecutionProvider was asked for")
    assert "CUDAExecutionProvider was asked for" in told


def test_a_server_that_could_not_start_leaves_the_log_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(cli_serve, "RuntimeBackend", lambda model: FlashBackend(tmp_path))
    before = list(logging.getLogger("uvicorn.error").filters)
    with pytest.raises(AvatarError, match="no character"):
        cli_serve.run(ServerConfig(listen=Listen(port=0)))
    assert logging.getLogger("uvicorn.error").filters == before


@pytest.mark.fault("intruders")
def test_a_key_on_the_command_line_is_warned_of():
    """A key on the command line is warned of: every user of the machine can read it there."""
    done = run("serve", "--print-config", "--api-key", "0123456789abcdef")
    assert done.returncode == 0
    assert "list of processes" in done.stderr
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_an_unknown_log_level_is_refused_in_one_sentence():
    done = run("serve", "--port", "0", "--log-level", "loud")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "avatar serve: --log-level is 'loud', but must be one of debug, info, warning, error."
    )
