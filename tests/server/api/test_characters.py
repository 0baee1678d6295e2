import contextlib
import io
import json
import shutil

import httpx
import numpy as np
import pytest
from PIL import Image

from server.api.app import create_app
from server.config import Model, ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend

BOX = json.dumps([{"x": 0.3, "y": 0.3, "width": 0.4, "height": 0.4}])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "characters")


@contextlib.asynccontextmanager
async def requests(root):
    app = create_app(ServerConfig(model=Model(characters=(root,))), FlashBackend(root))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield http


def picture(size=(96, 96)) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


async def test_an_added_character_is_listed_shown_and_deleted(root):
    async with requests(root) as http:
        files = {"picture": picture(), "happy": picture()}
        fields = {"id": "zoe", "boxes": BOX, "speakers": '["zoe"]', "name": "Zoe"}
        added = await http.post("/v1/characters", data=fields, files=files)
        assert added.status_code == 201
        assert added.json()["speakers"][0]["id"] == "zoe"
        assert set(added.json()["emotions"]) == {"neutral", "happy"}
        assert (await http.get("/v1/characters/zoe")).json() == added.json()
        listed = (await http.get("/v1/characters")).json()["characters"]
        assert [each["id"] for each in listed] == ["ana", "pair", "zoe"]
        assert (await http.get(added.json()["emotions"]["happy"])).status_code == 200
        assert (await http.delete("/v1/characters/zoe")).status_code == 204
        assert (await http.get("/v1/characters/zoe/picture")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "upload", "code"),
    [
        ({"id": "x", "boxes": BOX}, b"this is no picture", "invalid_picture"),
        ({"id": "x", "boxes": BOX}, picture()[:500], "invalid_picture"),
        ({"id": "../x", "boxes": BOX}, picture(), "invalid_field"),
        ({"id": "x", "boxes": "none"}, picture(), "invalid_field"),
        ({"id": "x", "boxes": "[]"}, picture(), "invalid_field"),
        ({"id": "x", "boxes": '[{"x": 2}]'}, picture(), "invalid_field"),
        ({"id": "x"}, picture(), "missing_field"),
        ({"id": "x", "boxes": BOX, "speakers": '["\\ud800"]'}, picture(), "invalid_field"),
        ({"id": "x", "boxes": '[{"x": 1e999}]'}, picture(), "invalid_field"),
    ],
)
async def test_what_cannot_become_a_character_is_refused_and_leaves_nothing(
    root, fields, upload, code
):
    async with requests(root) as http:
        refused = await http.post("/v1/characters", data=fields, files={"picture": upload})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == code
    assert sorted(each.name for each in root.iterdir()) == ["ana", "pair"]


async def test_an_unknown_character_or_emotion_is_refused_by_name(root):
    async with requests(root) as http:
        for path, status in (
            ("/v1/characters/ghost/picture", 404),
            ("/v1/characters/..%2Fana/picture", 404),
            ("/v1/characters/ana/picture?emotion=bored", 400),
        ):
            assert (await http.get(path)).status_code == status


async def test_another_sites_page_may_not_delete_a_character(root):
    async with requests(root) as http:
        evil = {"origin": "http://evil.example"}
        assert (await http.delete("/v1/characters/ana", headers=evil)).status_code == 403
    assert (root / "ana").is_dir()
