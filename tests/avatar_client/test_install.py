"""The client installs alone: without torch, without the server, beside any file of a user's."""

import asyncio
import json
import os
import subprocess
import venv
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


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a virtual environment that holds the client and its dependencies only."""
    folder = tmp_path_factory.mktemp("client")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", PACKAGE], folder)
    return python


def test_the_installed_client_needs_neither_torch_nor_the_server(python, tmp_path):
    assert json.loads(run([python, "-c", IMPORT_ALL], tmp_path)) == []


async def test_a_bot_with_a_server_py_of_its_own_connects_through_the_client(python, tmp_path):
    (tmp_path / "server.py").write_text("OWN = True\n")
    (tmp_path / "bot.py").write_text(BOT)

    async with serving(ServerConfig(), FlashBackend(make_characters(tmp_path / "all"))) as stand:
        url = f"http://127.0.0.1:{stand.port}"
        printed = await asyncio.to_thread(run, [python, "bot.py", url], tmp_path)

    assert json.loads(printed) == [True, "ana"]
