"""The client installs alone: without torch, without the server, beside any file of a user's."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import avatar_client
import pytest

from server.config import ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

pytestmark = pytest.mark.slow

PACKAGE = Path(avatar_client.__file__).parent.parent
IMPORT_ALL = """
import importlib.util, json
import avatar_client
for name in avatar_client.__all__:
    getattr(avatar_client, name)
others = ["torch", "server", "runtime", "export", "training", "client_demo", "fastapi"]
print(json.dumps([name for name in others if importlib.util.find_spec(name)]))
"""
BOT = """
import asyncio, json, sys
import server  # the bot's own
from avatar_client import AvatarClient

async def main(url):
    async with await AvatarClient.connect(url, "ana") as client:
        print(json.dumps([server.OWN, client.session.character]))

asyncio.run(main(sys.argv[1]))
"""


def run(command: list[object], folder: Path) -> str:
    """The output of a command that runs in `folder`, without this test run's import paths."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def client_in(folder: Path, interpreter: str) -> Path:
    """The interpreter of a virtual environment that holds the client and its dependencies only."""
    run([interpreter, "-m", "venv", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", PACKAGE], folder)
    return python


def is_here(interpreter: str) -> bool:
    """Can it be run? A shim of pyenv may be there without its Python."""
    if not shutil.which(interpreter):
        return False
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a client that is installed alone, of this Python."""
    return client_in(tmp_path_factory.mktemp("client"), sys.executable)


def test_the_installed_client_needs_neither_torch_nor_the_server(python, tmp_path):
    assert json.loads(run([python, "-c", IMPORT_ALL], tmp_path)) == []


@pytest.mark.fault("intruders")
async def test_a_bot_with_a_server_py_of_its_own_connects_through_the_client(python, tmp_path):
    """A user's own module named like one of the server's keeps nobody from the client."""
    (tmp_path / "server.py").write_text("OWN = True\n")
    (tmp_path / "bot.py").write_text(BOT)

    async with serving(ServerConfig(), FlashBackend(make_characters(tmp_path / "all"))) as stand:
        url = f"http://127.0.0.1:{stand.port}"
        printed = await asyncio.to_thread(run, [python, "bot.py", url], tmp_path)

    assert json.loads(printed) == [True, "ana"]


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["3.12", "3.13"])
async def test_the_client_connects_under_later_versions_of_python(tmp_path, version):
    if not is_here(f"python{version}"):
        pytest.skip(f"there is no python{version}")
    python = await asyncio.to_thread(client_in, tmp_path, f"python{version}")
    (tmp_path / "server.py").write_text("OWN = True\n")
    (tmp_path / "bot.py").write_text(BOT)

    async with serving(ServerConfig(), FlashBackend(make_characters(tmp_path / "all"))) as stand:
        url = f"http://127.0.0.1:{stand.port}"
        printed = await asyncio.to_thread(run, [python, "bot.py", url], tmp_path)

    assert json.loads(printed) == [True, "ana"]
