import logging
import subprocess
import sys

import onnxruntime
import pytest

from runtime.errors import AvatarError
from server.cli import serve as cli_serve
from server.config import Listen, ServerConfig
from tests.support.flash import FlashBackend


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


def test_an_unknown_command_is_refused_with_the_ones_there_are():
    done = run("sing")
    assert done.returncode == 2
    assert "serve, talk, generate, characters" in done.stderr


def test_serving_beyond_this_machine_without_a_key_is_refused():
    done = run("serve", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "listen.api_key" in done.stderr


def test_a_checkpoint_without_weights_fails_with_its_path_and_what_to_do(tmp_path):
    done = run("serve", "--port", "0", "--checkpoint", str(tmp_path))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert "avatar serve: " in done.stderr


def test_sessions_begin_with_a_preset_that_there_is():
    done = run("serve", "--port", "0", "--preset", "fast")
    assert done.returncode == 1
    assert "model.default_preset: found 'fast', expected one of interactive" in done.stderr


def test_a_provider_that_is_not_here_fails_in_one_line_before_the_server_listens():
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("cuda is here")
    done = run("serve", "--port", "0", "--engine", "onnx", "--provider", "cuda")
    assert done.returncode == 1
    assert "Ready" not in done.stdout
    assert "Traceback" not in done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith("avatar serve: ONNX Runtime here has ")
    assert "CUDAExecutionProvider was asked for" in told


def test_a_server_that_could_not_start_leaves_the_log_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(cli_serve, "RuntimeEngine", lambda model: FlashBackend(tmp_path))
    before = list(logging.getLogger("uvicorn.error").filters)
    with pytest.raises(AvatarError, match="no character"):
        cli_serve.run(ServerConfig(listen=Listen(port=0)))
    assert logging.getLogger("uvicorn.error").filters == before
