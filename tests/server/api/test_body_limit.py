import asyncio
import json

import pytest

from server.api.body_limit import BodyLimit
from server.config import Limits, Listen, Model, ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

LIMITS = Limits(max_body_bytes=10_000, max_picture_bytes=1_000_000)
MORE_THAN_FITS = 1_500_000
KEY = "a-key-of-24-characters-0"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("characters"))


@pytest.fixture
async def stand(root):
    config = ServerConfig(limits=LIMITS, model=Model(characters=(root,)))
    async with serving(config, FlashBackend(root)) as stand:
        yield stand


async def answer(stand, head: list[str], *body: bytes) -> tuple[int, dict]:
    """Status and JSON of the answer to what is sent raw; it need not be a whole request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    try:
        writer.write("\r\n".join([*head, "host: localhost", "", ""]).encode())
        for part in body:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            status = int((await reader.readline()).split()[1])
            headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(headers.split("content-length: ")[1].split("\r\n")[0])
            return status, json.loads(await reader.readexactly(length))
    finally:
        writer.close()
        await writer.wait_closed()


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


MULTIPART = "content-type: multipart/form-data; boundary=edge"
PICTURE = b'--edge\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("path", "length", "limit"),
    [
        (
            "/v1/speech",
            10_001,
            "10000 are allowed. Send less, or raise limits.max_body_bytes",
        ),
        (
            "/v1/characters",
            10**12,
            "5010000 are allowed. Send less, or raise limits.max_picture",
        ),
        ("/v1/realtime/sessions", 10_001, "10000 are allowed"),
    ],
)
async def test_a_body_that_says_it_is_too_long_is_refused_unread(stand, path, length, limit):
    status, found = await answer(stand, [f"POST {path} HTTP/1.1", f"content-length: {length}"])
    assert status == 413
    assert found["error"]["code"] == "message_too_large"
    assert f"The body has {length} bytes, but at most {limit}" in found["error"]["message"]


async def test_text_that_does_not_say_its_length_is_refused_where_it_is_too_long(stand):
    head = ["POST /v1/speech HTTP/1.1", "content-type: application/json"]
    parts = [chunk(b'{"text": "'), *[chunk(b"a" * 1000)] * 10]  # and it never ends
    status, found = await answer(stand, [*head, "transfer-encoding: chunked"], *parts)
    assert status == 413
    assert "The body has more than " in found["error"]["message"]


async def test_an_endless_picture_is_refused_and_the_connection_serves_on(stand):
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    head = ["POST /v1/characters HTTP/1.1", "host: localhost", MULTIPART]
    writer.write("\r\n".join([*head, "transfer-encoding: chunked", "", ""]).encode())
    for part in (PICTURE, *[b"a" * 500_000] * 14, b""):  # 7 MB, of which 5 are too many
        writer.write(chunk(part))
        await writer.drain()
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.startswith(b"HTTP/1.1 413")
    assert answers.endswith(b'{"status":"ok"}')


async def test_one_picture_that_is_too_large_is_refused_by_its_own_limit(stand):
    ends = b"\r\n--edge--\r\n"
    fields = b"".join(
        b'--edge\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % field
        for field in ((b"id", b"new"), (b"boxes", b"[]"))
    )
    body = fields + PICTURE + b"a" * MORE_THAN_FITS + ends
    head = ["POST /v1/characters HTTP/1.1", MULTIPART, f"content-length: {len(body)}"]
    status, found = await answer(stand, head, body)
    assert status == 413
    assert "The picture has more than 1000000 bytes" in found["error"]["message"]


@pytest.mark.parametrize("length", ["content-length: 5000", "transfer-encoding: chunked"])
async def test_without_the_key_no_body_is_read(root, length):
    config = ServerConfig(limits=LIMITS, listen=Listen(api_key=KEY))
    async with serving(config, FlashBackend(root)) as stand:
        status, found = await answer(stand, ["POST /v1/characters HTTP/1.1", MULTIPART, length])
        assert status == 401
        assert found["error"]["code"] == "unauthorized"


async def test_the_key_is_checked_once_for_a_request(root):
    config = ServerConfig(limits=LIMITS, listen=Listen(api_key=KEY))
    async with serving(config, FlashBackend(root)) as stand:
        checks = []
        check = stand.hub.access.check
        stand.hub.access.check = lambda *shown: (checks.append(1), check(*shown))
        for line, length in (("GET /v1/characters", 0), ("POST /v1/characters", 2)):
            head = [f"{line} HTTP/1.1", f"authorization: Bearer {KEY}", f"content-length: {length}"]
            await answer(stand, head, b"{}"[:length])
    assert len(checks) == 2


async def told_by(app) -> list[dict]:
    """What is sent where `app` gets a body over the limit, and goes on to ask for it."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"a" * 6_000, "more_body": True}

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/speech", "headers": []}
    await BodyLimit(app, LIMITS)(scope, receive, send)
    return sent


BEGIN = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"read"}


async def test_an_app_that_reads_on_after_a_refusal_hears_no_more_and_says_no_more():
    heard: list[str] = []

    async def app(scope, receive, send) -> None:
        heard.extend([(await receive())["type"] for _ in range(4)])
        await send(BEGIN)
        await send(END)

    begin, body = await told_by(app)
    assert heard == ["http.request", *["http.disconnect"] * 3]
    assert begin["status"] == 413
    assert b"message_too_large" in body["body"]


async def test_an_answer_that_has_begun_is_no_longer_replaced_by_a_refusal():
    async def app(scope, receive, send) -> None:
        await send(BEGIN)
        while (await receive())["type"] == "http.request":
            pass
        await send(END)

    assert await told_by(app) == [BEGIN, END]
