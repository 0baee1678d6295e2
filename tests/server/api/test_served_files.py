"""What is served without the key: shipped files only, whatever commands write beside them."""

import json
import shutil
from pathlib import Path

import pytest

import client_demo
from server.config import ConfigError, Listen
from tests.support.serving.backends import make_characters
from tests.support.serving.requests_to_app import requests

SHIPPED = Path(client_demo.__file__).parent
FOR_README = {"cast.webp", "talking.webp"}
"""Pictures of README that lie beside the page and are no part of it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copied(tmp_path) -> Path:
    """The shipped folders, after commands ran in both of them."""
    for name in ("web", "samples"):
        folder = shutil.copytree(SHIPPED / name, tmp_path / name)
        (folder / "talk.mp4").write_bytes(b"a recording")
        (folder / "characters" / "mia").mkdir(parents=True)
        (folder / "characters" / "mia" / "picture.webp").write_bytes(b"a photograph")
    return tmp_path


async def test_files_that_commands_wrote_are_not_served(copied, root):
    listen = Listen(web_dir=copied / "web", samples_dir=copied / "samples")
    async with requests(listen, root) as http:
        for folder in ("", "/samples"):
            for path in ("talk.mp4", "characters/mia/picture.webp", "characters/", "../talk.mp4"):
                assert (await http.get(f"{folder}/{path}")).status_code == 404


async def test_the_page_and_its_samples_are_served(copied, root):
    listen = Listen(web_dir=copied / "web", samples_dir=copied / "samples")
    async with requests(listen, root) as http:
        assert "<html" in (await http.get("/")).text
        for name in json.loads((copied / "web" / "files.json").read_text()):
            assert (await http.get(f"/{name}")).status_code == 200
        hello = (await http.get("/samples/samples.json")).json()["hello"]["file"]
        assert (await http.get(f"/samples/{hello}")).content[:4] == b"RIFF"


async def test_a_page_of_ones_own_without_a_list_is_served_whole(tmp_path, root):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.html").write_text("mine")
    async with requests(Listen(web_dir=tmp_path), root) as http:
        assert (await http.get("/deep/page.html")).text == "mine"


def test_the_list_of_the_page_names_each_of_its_files():
    listed = set(json.loads((SHIPPED / "web" / "files.json").read_text()))
    there = {each.name for each in (SHIPPED / "web").iterdir() if each.is_file()}
    assert listed == there - FOR_README - {"files.json"}


@pytest.mark.parametrize("content", ["{", "3", "[" * 100_000])
async def test_a_broken_list_of_files_stops_the_start_with_its_name(tmp_path, root, content):
    (tmp_path / "files.json").write_text(content)
    with pytest.raises(ConfigError, match=r"files\.json"):
        async with requests(Listen(web_dir=tmp_path), root):
            pass
