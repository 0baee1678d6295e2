"""What a real server writes into its log, at every level."""

import asyncio
import contextlib
import io
import logging
import re

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.api.app import create_app
from server.budget import TokenBucket
from server.cli.connections import BoundedHttp
from server.cli.embedded import running
from server.cli.log import LogFormatter, secrets_of
from server.config import IceServer, Listen, Model, ServerConfig, Webrtc
from tests.support.serving.flash import FlashBackend

KEY = "a-key-of-24-characters-0"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+: ")


@contextlib.contextmanager
def log_of(config: ServerConfig, level: str):
    """The log as `avatar serve --log-level` writes it."""
    root, text = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(LogFormatter(secrets_of(config)))
    # Only the server's own side: the client below logs in this process too.
    handler.addFilter(lambda record: not record.name.startswith(("websockets.client", "http")))
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@pytest.mark.fault("intruders")
async def test_no_secret_is_in_the_log_at_debug(character_root):
    """At log level debug the log holds no API key, client secret, resume secret or credential."""
    turn = IceServer(("turn:127.0.0.1:9",), secret="the-turn-secret")
    config = ServerConfig(
        Listen(api_key=KEY),
        model=Model(characters=(character_root,)),
        webrtc=Webrtc(ice_servers=(turn,)),
    )
    app = create_app(config, FlashBackend(character_root))
    with log_of(config, "debug") as text:
        async with running(config, app, "debug") as port, httpx.AsyncClient() as http:
            shown = {"Authorization": f"Bearer {KEY}"}
            url = f"http://127.0.0.1:{port}/v1/realtime/sessions?api_key={KEY}"
            secret = (await http.post(url, headers=shown)).json()["client_secret"]["value"]
            address = f"ws://127.0.0.1:{port}/v1/realtime?token={KEY}"
            offered = ["avatar.v1", f"avatar.secret.{secret}"]
            async with connect(address, subprotocols=offered) as socket:
                created = httpx.Response(200, text=str(await socket.recv())).json()
                await socket.send("not json\n2026-01-01 00:00:00,000 ERROR root: forged")
                await socket.recv()
            with contextlib.suppress(InvalidStatus):
                await connect(address, subprotocols=offered)  # spent
    said = text.getvalue()
    assert "opened with" in said
    hidden = (KEY, secret, created["resume_secret"], "the-turn-secret")
    hidden += (created["ice_servers"][0]["credential"],)
    assert [each for each in hidden if each in said] == []
    assert all(LINE.match(line) or line.startswith("  ") for line in said.splitlines())


@pytest.mark.fault("intruders")
async def test_a_refused_page_is_one_warning_that_says_what_to_do(character_root):
    """A refused WebSocket is one line in the log, with its origin, its host and the remedy."""
    config = ServerConfig(model=Model(characters=(character_root,)))
    app = create_app(config, FlashBackend(character_root))
    with log_of(config, "warning") as text:
        async with running(config, app, "warning") as port:
            with pytest.raises(InvalidStatus) as refused:
                await connect(
                    f"ws://127.0.0.1:{port}/v1/realtime",
                    subprotocols=["avatar.v1"],
                    origin="https://app.example",
                )
    assert refused.value.response.status_code == 403
    (line,) = text.getvalue().splitlines()
    assert " WARNING " in line
    assert "origin 'https://app.example', host '127.0.0.1:" in line
    assert "listen.allowed_origins" in line
    assert "$http_host" in line


@pytest.mark.fault("intruders")
async def test_a_client_that_speaks_tls_is_named_in_the_log(character_root, monkeypatch):
    """The log says that a client speaks TLS to a port without TLS."""
    monkeypatch.setattr(BoundedHttp, "_tls_warnings", TokenBucket(1 / 60, 1))
    config = ServerConfig(model=Model(characters=(character_root,)))
    app = create_app(config, FlashBackend(character_root))
    with log_of(config, "warning") as text:
        async with running(config, app, "warning") as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
                await reader.read()
                writer.close()
    assert text.getvalue().count("speaks TLS to this port") == 1
