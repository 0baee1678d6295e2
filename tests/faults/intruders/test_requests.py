"""Requests that nobody may make, and what may be learnt from their answers."""

import asyncio
import io
import json

import httpx
import pytest
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.config import Listen, Model, ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.requests_to_app import requests
from tests.support.serving.stand import serving

KEY = "a-key-of-24-characters-0"
SHOWN = {"Authorization": f"Bearer {KEY}"}
BAD_HOSTS = ["[", "[::1", "a b", "a:99999", "a@b", "x" * 5000, "]", "[[]]:1", "//["]
ROUTES = [
    ("GET", "/v1/characters"),
    ("POST", "/v1/characters"),
    ("DELETE", "/v1/characters/ana"),
    ("GET", "/v1/characters/ana/picture"),
    ("POST", "/v1/speech"),
    ("POST", "/v1/realtime"),
    ("POST", "/v1/realtime/sessions"),
    ("GET", "/v1/sessions"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


async def raw(port: int, *lines: str) -> tuple[int, bytes]:
    """Status and body of the answer to a request head, sent as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    close = [] if "Connection: Upgrade" in lines else ["Connection: close"]
    writer.write("\r\n".join([*lines, *close, "", ""]).encode("latin-1"))
    try:
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("key", [None, KEY])
async def test_a_malformed_host_or_origin_is_refused(character_root, key, caplog):
    """A malformed Host or Origin is refused in the usual form, over HTTP and for WebSockets."""
    config = ServerConfig(Listen(api_key=key), model=Model(characters=(character_root,)))
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    upgrade += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: avatar.v1"]
    async with serving(config, FlashBackend(character_root)) as stand:
        heads = [[f"Host: {each}"] for each in BAD_HOSTS]
        heads += [["Host: localhost", f"Origin: {each}"] for each in ("//[", "http://[", "é", "[")]
        for head in heads:
            for request in (["GET /v1/characters HTTP/1.1"], ["GET /v1/realtime HTTP/1.1"]):
                extra = upgrade if "realtime" in request[0] else []
                status, body = await raw(stand.port, *request, *head, *extra)
                assert status in (400, 403), head
                assert json.loads(body)["error"]["code"] in ("invalid_field", "forbidden")
    assert [each for each in caplog.records if each.exc_info] == []


@pytest.mark.fault("intruders")
async def test_a_client_secret_is_good_for_one_socket_and_nothing_else(character_root):
    """A browser's secret opens one socket; it lists, speaks, uploads and mints nothing."""
    config = ServerConfig(Listen(api_key=KEY), model=Model(characters=(character_root,)))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{stand.port}") as http,
    ):
        minted = await http.post("/v1/realtime/sessions", headers=SHOWN)
        secret = minted.json()["client_secret"]["value"]
        for shown in (
            {"Sec-WebSocket-Protocol": f"avatar.v1, avatar.secret.{secret}"},
            {"Authorization": f"Bearer {secret}"},
        ):
            answers = [await http.request(*route, headers=shown) for route in ROUTES]
            assert {each.status_code for each in answers} <= {401, 429}
        address = f"ws://127.0.0.1:{stand.port}/v1/realtime"
        offered = ["avatar.v1", f"avatar.secret.{secret}"]
        async with connect(address, subprotocols=offered) as socket:
            created = json.loads(await socket.recv())
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, subprotocols=offered)
        assert refused.value.response.status_code in (401, 429)
        again = ["avatar.v1", f"avatar.secret.{created['resume_secret']}"]
        async with connect(f"{address}?session={created['session_id']}", subprotocols=again) as it:
            assert json.loads(await it.recv())["session_id"] == created["session_id"]


@pytest.mark.fault("intruders")
async def test_wrong_keys_wait_and_the_right_one_does_not(character_root):
    """Many wrong keys are answered 429 with Retry-After; the right key goes on working."""
    async with requests(Listen(api_key=KEY), character_root) as http:
        wrong = {"Authorization": "Bearer wrong"}
        answers = [await http.get("/v1/characters", headers=wrong) for _ in range(300)]
        assert [each.status_code for each in answers].count(401) < 30
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert answers[-1].json()["error"]["code"] == "rate_limited"
        assert (await http.get("/v1/characters", headers=SHOWN)).status_code == 200


@pytest.mark.fault("intruders")
async def test_an_allowed_page_may_use_http_too(character_root):
    """A page of an allowed origin may use the HTTP routes with the key; others may not."""
    listen = Listen(api_key=KEY, allowed_origins=("https://app.example",))
    asked = {"Access-Control-Request-Method": "POST"}
    asked |= {"Access-Control-Request-Headers": "authorization,content-type"}
    async with requests(listen, character_root) as http:
        mine, theirs = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
        preflight = await http.options("/v1/speech", headers=asked | mine)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        for headers, status in ((SHOWN, 200), ({}, 401)):
            found = await http.get("/v1/characters", headers=headers | mine)
            assert found.status_code == status
            assert found.headers["Access-Control-Allow-Origin"] == "https://app.example"
        refused = await http.get("/v1/characters", headers=SHOWN | theirs)
        assert refused.status_code == 403
        assert "Access-Control-Allow-Origin" not in refused.headers
        preflight = await http.options("/v1/speech", headers=asked | theirs)
        assert "Access-Control-Allow-Origin" not in preflight.headers


@pytest.mark.fault("intruders")
async def test_pages_load_nothing_from_elsewhere_and_are_not_framed(character_root):
    """The page runs its own scripts only, and no page of another site frames it."""
    async with requests(Listen(), character_root) as http:
        for path in ("/", "/minimal.html", "/v1/characters", "/healthz", "/nothing"):
            found = await http.get(path)
            policy = found.headers["Content-Security-Policy"]
            assert "script-src 'self'" in policy
            assert "frame-ancestors 'self'" in policy
            assert "unsafe" not in policy
            assert found.headers["X-Content-Type-Options"] == "nosniff"
            assert found.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert {(await http.get(f"/{each}")).status_code for each in ("docs", "redoc")} == {404}


async def test_an_allowed_page_may_frame_the_page(character_root):
    async with requests(Listen(allowed_origins=("https://app.example",)), character_root) as http:
        found = await http.get("/")
    assert "frame-ancestors 'self' https://app.example" in found.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in found.headers


async def test_a_page_of_ones_own_may_load_what_it_likes(character_root, tmp_path):
    (tmp_path / "index.html").write_text("<script src=https://cdn.example/x.js></script>")
    async with requests(Listen(web_dir=tmp_path), character_root) as http:
        policy = (await http.get("/")).headers["Content-Security-Policy"]
    assert policy == "frame-ancestors 'self'"


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("GET", "/nothing.html", None, 404, "not_found"),
        ("PUT", "/v1/characters", None, 405, "method_not_allowed"),
        ("POST", "/", None, 405, "method_not_allowed"),
        ("GET", "/v1/realtime", None, 426, "upgrade_required"),
        ("POST", "/v1/speech", b"[" * 100_000, 400, "invalid_field"),
        ("POST", "/v1/speech", b'{"text": ' * 20_000, 400, "invalid_field"),
        ("POST", "/v1/speech", b"\xff\xfe", 400, "invalid_field"),
        ("POST", "/v1/speech", b"{", 400, "invalid_field"),
        ("POST", "/v1/characters", b"--x", 400, "missing_field"),
        ("POST", "/v1/realtime?session=sess_none", None, 404, "session_not_found"),
    ],
)
async def test_every_refusal_has_the_usual_form(character_root, method, path, body, status, code):
    """Every refused request answers one form of error, whoever refuses it."""
    async with requests(Listen(), character_root) as http:
        headers = {"Content-Type": "application/json"}
        found = await http.request(method, path, content=body, headers=headers)
    assert found.status_code == status
    assert found.json()["error"]["code"] == code
    if status == 405:
        assert found.headers["Allow"]


@pytest.mark.fault("intruders")
async def test_an_error_that_nothing_expected_has_the_usual_form(character_root, monkeypatch):
    """An error in the server itself is answered without its text, in the usual form."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("/srv/secret/place")

    monkeypatch.setattr("server.api.characters.describe", fail)
    async with requests(Listen(), character_root) as http:
        found = await http.get("/v1/characters")
    assert found.status_code == 500
    assert found.json()["error"]["code"] == "internal"
    assert "secret" not in found.text


@pytest.mark.fault("intruders")
async def test_a_request_of_two_lengths_is_refused(character_root):
    """A request that gives its length in two ways is refused: two servers could read it apart."""
    config = ServerConfig(model=Model(characters=(character_root,)))
    async with serving(config, FlashBackend(character_root)) as stand:
        status, body = await raw(
            stand.port,
            "POST /v1/realtime/sessions HTTP/1.1",
            "Host: localhost",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
        )
    assert status == 400
    assert b"Content-Length and Transfer-Encoding" in body


@pytest.mark.fault("intruders")
async def test_errors_name_no_folder_of_the_server(character_root, tmp_path):
    """No answer names a folder of the server, over HTTP or over the socket."""
    root = tmp_path / "a folder, of mine" / "characters"
    make_characters(root)
    picture = io.BytesIO()
    Image.new("RGB", (256, 256)).save(picture, "PNG")
    async with requests(Listen(), root) as http:
        form = {"id": "mia", "boxes": '[{"x":0.3,"y":0.3,"width":0.4,"height":0.4}]'}
        answers = []
        for _ in range(2):
            files = {"picture": ("a.png", picture.getvalue())}
            answers.append(await http.post("/v1/characters", data=form, files=files))
        (root / "mia" / "character.json").write_text("{")
        answers += [
            await http.get(f"/v1/characters{each}") for each in ("", "/mia", "/mia/picture")
        ]
        answers += [await http.get(f"/{each}") for each in ("%2e%2e/x", "samples/..%2f..%2fx")]
    assert answers[1].status_code >= 400
    texts = [each.text for each in answers if each.status_code >= 400]
    assert [text for text in texts if "folder, of mine" in text or str(tmp_path) in text] == []
