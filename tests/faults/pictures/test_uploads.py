"""Uploads of characters that are too many, too large, half or hostile."""

import asyncio
import contextlib
import errno
import io
import json
import os
import shutil
import tempfile
import threading

import httpx
import numpy as np
import pytest
from PIL import Image

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from runtime.character.store import BUILTIN_CHARACTERS
from server.api import characters as routes
from server.api.app import create_app
from server.config import Model, ServerConfig
from tests.support.serving.flash import FlashBackend

BOX = {"x": 0.3, "y": 0.3, "width": 0.4, "height": 0.4}
BOXES = json.dumps([BOX])


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURE = encoded(Image.effect_noise((96, 96), 90).convert("RGB"))


@contextlib.asynccontextmanager
async def requests(root):
    """A server with the characters in `root` and mira, who is built in."""
    backend = FlashBackend(root)
    backend.characters = CharacterRegistry((root, BUILTIN_CHARACTERS))
    app = create_app(ServerConfig(model=Model(characters=(root,))), backend)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield http


@pytest.fixture
async def http(tmp_path):
    (tmp_path / "own").mkdir()
    async with requests(tmp_path / "own") as client:
        yield client


async def upload(http, identity="new", picture=PICTURE, boxes=BOXES, **fields):
    data = {"id": identity, "boxes": boxes, **fields}
    return await http.post("/v1/characters", data=data, files={"picture": ("p", picture)})


def error(answer):
    return answer.json()["error"]


@pytest.mark.fault("pictures")
async def test_a_thousand_faces_are_refused_at_once(http, tmp_path):
    """A character has at most eight faces; more are refused before they are compared."""
    many = [{"x": n / 1000, "y": 0.1, "width": 0.0009, "height": 0.1} for n in range(1000)]
    refused = await upload(http, boxes=json.dumps(many))
    assert (refused.status_code, error(refused)["param"]) == (400, "boxes")
    assert "at most 8 faces" in error(refused)["message"]
    eight = [{"x": n / 8, "y": 0.3, "width": 0.1, "height": 0.3} for n in range(8)]
    assert (await upload(http, boxes=json.dumps(eight))).status_code == 201
    refused = await upload(http, "nine", boxes=json.dumps([*eight, BOX]))
    assert refused.status_code == 400
    assert os.listdir(tmp_path / "own") == ["new"]  # noqa: PTH208


@pytest.mark.fault("pictures")
async def test_a_card_with_too_many_faces_on_the_disk_takes_nobody_else_away(tmp_path):
    """Card files on the disk obey the limits of uploads; one that does not is left out."""
    own = tmp_path / "own"
    shutil.copytree(BUILTIN_CHARACTERS / "mira", own / "many")
    card = json.loads((own / "many" / "character.json").read_text())
    faces = [{"id": f"s{n}", "box": BOX | {"x": n / 9000}} for n in range(3000)]
    (own / "many" / "character.json").write_text(
        json.dumps(card | {"id": "many", "speakers": faces})
    )
    async with requests(own) as http:
        listed = (await http.get("/v1/characters")).json()["characters"]
        assert {"many", "mira"} & {each["id"] for each in listed} == {"mira"}


ODD_BOXES = [
    *("[" * 50_000, '"' + "[" * 50_000, "[" + "[]," * 9_000 + "[]]", "{}", "null", "1", "", "NaN"),
    *('[{"x":' * 2_000, "[null]", "[[]]", "[0.3,0.2,0.4,0.5]", '["0.3,0.2,0.4,0.5"]', "[{}]"),
    *(
        f'[{{"x": {value}, "y": 0.1, "width": 0.4, "height": 0.4}}]'
        for value in (
            *("1" * 400, "1" * 5000, "-" + "9" * 400, "1e400", "-1e400", "NaN", "Infinity"),
            *("-Infinity", "true", "null", '"0.1"', "[]", "{}", "[0.1]", "-0.1", "0.7", "1e-400"),
        )
    ),
    '[{"x": 0.1, "y": 0.1, "width": 0, "height": 0.4}]',
    '[{"x": 0.1, "y": 0.1, "width": -0.1, "height": 0.4}]',
    '[{"x": 0.1, "y": 0.1, "width": 1e-320, "height": 1e-320}]',
    json.dumps([BOX | {"z": 1}]),
    json.dumps([BOX, BOX]),
]


@pytest.mark.fault("pictures")
async def test_odd_boxes_are_refused_in_one_sentence(http, tmp_path):
    """Boxes that are huge, NaN, negative, nested or text get one clear answer, never a 500."""
    for boxes in ODD_BOXES:
        answer = await upload(http, "odd", boxes=boxes)
        if answer.status_code == 201:  # 1e-400 is 0
            await http.delete("/v1/characters/odd")
            continue
        assert answer.status_code == 400, boxes[:60]
        assert len(error(answer)["message"]) < 400
    assert not list((tmp_path / "own").iterdir())


ODD_IDS = ("", " ", ".", "..", "../x", "a/b", "a\\b", "a\nb", "a\0b", "-a", "A", "é", "名前", "🙂")


@pytest.mark.fault("pictures")
async def test_odd_ids_and_names_are_refused(http, tmp_path):
    """Ids are plain; names are one line of text; neither reaches outside its folder."""
    for identity in (*ODD_IDS, "x" * 65, ".new-1", ".gone-1", "%2e%2e", "a b", "a\u202eb"):
        answer = await upload(http, identity)
        assert (answer.status_code, error(answer)["code"]) in {
            (400, "invalid_field"),
            (400, "missing_field"),
        }, identity
    for name in ("two\nlines", "bell\a", "esc\x1b[31m", "line\u2028end", "x" * 201):
        answer = await upload(http, name=name)
        assert (answer.status_code, error(answer)["param"]) == (400, "name"), name
    for speakers in ("[1]", '["A"]', '["a", "b"]', '["a\\n"]', '[["a"]]', '["\\ud800"]', "{}"):
        answer = await upload(http, speakers=speakers)
        assert (answer.status_code, error(answer)["param"]) == (400, "speakers"), speakers
    added = await upload(http, name="Zoë [red] 名前 👩‍🚀")
    assert (added.status_code, added.json()["name"]) == (201, "Zoë [red] 名前 👩‍🚀")
    assert os.listdir(tmp_path / "own") == ["new"]  # noqa: PTH208


@pytest.mark.fault("intruders")
async def test_a_built_in_character_cannot_be_replaced_by_an_upload(http):
    """The ids of built-in characters are taken."""
    answer = await upload(http, "mira", name="another")
    assert (answer.status_code, error(answer)["code"]) == (409, "character_exists")
    assert (await http.get("/v1/characters/mira")).json()["name"] != "another"
    assert (await http.delete("/v1/characters/mira")).status_code == 400


async def test_an_operators_folder_on_the_disk_may_replace_a_built_in_character(tmp_path):
    shutil.copytree(BUILTIN_CHARACTERS / "mira", tmp_path / "own" / "mira")
    card = tmp_path / "own" / "mira" / "character.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"name": "Ours"}))
    async with requests(tmp_path / "own") as http:
        assert (await http.get("/v1/characters/mira")).json()["name"] == "Ours"


@pytest.mark.fault("intruders")
async def test_of_uploads_of_one_id_at_once_one_wins(http):
    """Two uploads of one id at the same moment: one is added, the other is told that it exists."""
    answers = await asyncio.gather(*(upload(http, "same") for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [201, *[409] * 3]


@pytest.mark.fault("intruders")
async def test_a_full_disk_is_a_clear_answer_without_a_path(http, tmp_path, monkeypatch):
    """On a full disk an upload answers 507 in one sentence, leaves nothing, and the next works."""

    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        answer = await upload(http)
    assert (answer.status_code, error(answer)["code"]) == (507, "storage_failed")
    assert "No space left on device" in error(answer)["message"]
    assert str(tmp_path) not in answer.text
    assert not list((tmp_path / "own").iterdir())
    assert (await upload(http)).status_code == 201


@pytest.mark.fault("intruders")
async def test_a_full_disk_while_the_upload_arrives_is_a_clear_answer(http, monkeypatch):
    """A disk that fills up while an upload arrives is no internal error."""

    class Full(tempfile.SpooledTemporaryFile):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", Full)
    answer = await upload(http)
    assert (answer.status_code, error(answer)["code"]) == (507, "storage_failed")


@pytest.mark.fault("pictures")
async def test_adding_and_deleting_disturbs_no_other_request(http):
    """While characters come and go, every request for another one succeeds."""
    statuses = []

    async def churn(identity):
        for _ in range(4):
            statuses.append((await upload(http, identity)).status_code)
            statuses.append((await http.delete(f"/v1/characters/{identity}")).status_code)

    async def look(churning):
        while not churning.done():
            for path in ("mira", "mira/picture", "mira/preview", ""):
                answer = await http.get(f"/v1/characters/{path}".rstrip("/"))
                assert answer.status_code == 200, answer.text
            await asyncio.sleep(0)

    churning = asyncio.gather(churn("one"), churn("two"))
    await asyncio.gather(churning, look(churning))
    assert sorted(statuses) == [201] * 8 + [204] * 8


async def test_a_deleted_character_is_unknown_and_never_an_internal_error(http):
    await upload(http)
    paths = ("", "/picture", "/preview", "/picture?emotion=happy")
    asked = [http.get(f"/v1/characters/new{path}") for path in paths for _ in range(5)]
    deleted = [http.delete("/v1/characters/new") for _ in range(3)]
    answers = await asyncio.gather(*asked, *deleted)
    assert {each.status_code for each in answers} <= {200, 204, 400, 404}
    assert [each.status_code for each in answers[-3:]].count(204) == 1


@pytest.mark.fault("pictures")
async def test_pictures_are_decoded_one_at_a_time_and_never_on_the_encoders_threads(
    http, monkeypatch
):
    """However many uploads come at once, one picture is in memory, and encoders keep threads."""
    names, at_once = [], []
    add = routes.add_character

    def watched(*arguments, **named):
        names.append(threading.current_thread().name)
        at_once.append(1)
        assert len(at_once) == 1
        try:
            return add(*arguments, **named)
        finally:
            at_once.pop()

    monkeypatch.setattr(routes, "add_character", watched)
    answers = await asyncio.gather(*(upload(http, f"n{n}") for n in range(12)))
    codes = [each.status_code for each in answers]
    assert set(codes) == {201, 429}
    assert codes.count(201) == routes.MOST_UPLOADS // 2
    assert all(each.headers["retry-after"] for each in answers if each.status_code == 429)
    assert {name.split("_")[0] for name in names} == {"pictures"}


@pytest.mark.fault("pictures")
async def test_a_small_file_of_a_huge_picture_is_refused(http):
    """A picture of 49 megapixels in a small file is refused before it is decoded."""
    huge = encoded(Image.new("RGBA", (7000, 7000), (9, 9, 9, 99)), compress_level=1)
    answer = await upload(http, picture=huge)
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_picture")
    assert "at most 12000000 pixels" in error(answer)["message"]


async def test_a_wide_pictures_shape_is_named(http):
    answer = await upload(http, picture=encoded(Image.new("RGB", (4000, 80), "red")))
    assert "4000 x 80" in error(answer)["message"]


@pytest.mark.fault("pictures")
async def test_the_list_is_read_and_written_once_for_all_who_ask(http, monkeypatch):
    """However often the list is asked for, the disk is looked at about once a second."""
    described, looks = [], []
    monkeypatch.setattr(
        routes, "describe", lambda one, real=routes.describe: described.append(one) or real(one)
    )
    read = CharacterRegistry.read
    monkeypatch.setattr(CharacterRegistry, "read", lambda self: looks.append(1) or read(self))
    monkeypatch.setattr("runtime.character.registry.FRESH_S", 60)
    await http.get("/v1/characters")
    before = len(described)
    answers = await asyncio.gather(*(http.get("/v1/characters") for _ in range(50)))
    assert len({each.content for each in answers}) == 1
    assert len(described) == before
    assert len(looks) <= 1


async def test_a_preview_is_drawn_once(http, monkeypatch):
    drawn = []
    real = routes.preview
    monkeypatch.setattr(routes, "preview", lambda one: drawn.append(one.id) or real(one))
    answers = await asyncio.gather(*(http.get("/v1/characters/mira/preview") for _ in range(20)))
    assert len({each.content for each in answers}) == 1
    assert drawn == ["mira"]


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return (
        b'--edge\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n' % (name, more)
        + value
        + b"\r\n"
    )


FORM = part(b"id", b"new") + part(b"boxes", BOXES.encode())
MULTIPART = "multipart/form-data; boundary=edge"


@pytest.mark.fault("pictures")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", FORM),
        ("multipart/form-data; boundary=", FORM),
        (MULTIPART, b"no form at all"),
        (MULTIPART, FORM),
        (MULTIPART, FORM + part(b"picture", b"x") + b"--edge--\r\n"),
        (MULTIPART, b"".join(part(b"f%d" % n, b"") for n in range(2000)) + b"--edge--\r\n"),
        (MULTIPART, part(b"picture", b"x", b'; filename="p"') * 20 + b"--edge--\r\n"),
        (MULTIPART, part(b"boxes", b"[" * 200_000) + b"--edge--\r\n"),
        (MULTIPART, FORM + part(b"smile", b"x", b'; filename="p"') + b"--edge--\r\n"),
        (MULTIPART, b"--edge\r\nno-name: 1\r\n\r\nx\r\n--edge--\r\n"),
        (MULTIPART, b"--edge\r\n" + b"a" * 50_000),
        ("multipart/form-data; boundary=edge; charset=klingon", FORM + b"--edge--\r\n"),
        ("application/x-www-form-urlencoded", b"id=new&boxes=%5B%5D&picture=x"),
        ("application/json", b'{"id": "new"}'),
        ("", b""),
    ],
)
async def test_malformed_and_overfull_forms_are_refused(http, kind, body):
    """A form with thousands of fields, without an end or of another kind gets a 400."""
    answer = await http.post("/v1/characters", content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert error(answer)["code"] in {"invalid_field", "missing_field", "invalid_picture"}


async def test_sessions_can_go_on_with_a_deleted_character(http, tmp_path):
    data = {"id": "new", "boxes": BOXES}
    await http.post("/v1/characters", data=data, files={"picture": PICTURE, "happy": PICTURE})
    registry = http._transport.app.state.registry.backend.characters
    character: Character = (await registry.current())["new"]
    assert (await http.delete("/v1/characters/new")).status_code == 204
    assert not list((tmp_path / "own").iterdir())
    assert np.array_equal(character.emotion_picture("happy").pixels, character.picture.pixels)
