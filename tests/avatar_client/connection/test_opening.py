"""Sockets to servers that are not what the address says, and ways through proxies."""

import asyncio
import contextlib
import datetime
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from avatar_client.characters import list_characters
from avatar_client.client import AvatarClient
from avatar_client.connection.opening import open_socket
from avatar_client.errors import AvatarClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.config import Listen, ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Stand, serving

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def stand(tmp_path) -> AsyncIterator[Stand]:
    characters = FlashBackend(make_characters(tmp_path / "all"))
    async with serving(ServerConfig(listen=Listen(api_key=KEY)), characters) as stand:
        yield stand


@contextlib.asynccontextmanager
async def proxy(answer: bytes, server_port: int | None = None) -> AsyncIterator[int]:
    """A proxy on a port of its own: answers a CONNECT and, with a port, tunnels to it."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if server_port is None:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", server_port)
        tasks.update(asyncio.create_task(one) for one in (pump(reader, back), pump(there, writer)))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[int]:
    """Speaks TLS with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


@pytest.mark.fault("relays")
async def test_a_proxy_in_the_environment_does_not_keep_the_client_from_this_machine(
    stand, monkeypatch
):
    """With a dead proxy in the environment the client still reaches this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{stand.port}"

    assert await list_characters(url, KEY)
    async with await AvatarClient.connect(url, "ana", api_key=KEY) as client:
        assert client.session.character == "ana"


@pytest.mark.fault("relays")
async def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch):
    """If a proxy is in the way, the error names it, without its password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")

    for attempt in (
        AvatarClient.connect("http://avatars.example:8080"),
        list_characters("http://avatars.example:8080"),
    ):
        with pytest.raises(
            AvatarClientError, match=f"proxy http://127.0.0.1:{port}.*NO_PROXY"
        ) as failure:
            await attempt
        assert "secret" not in str(failure.value)


@pytest.mark.fault("relays")
async def test_a_proxy_that_refuses_is_named(monkeypatch):
    """If a proxy refuses the connection, the error says so."""
    async with proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n") as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(AvatarClientError, match=f"proxy http://127.0.0.1:{port}.* refused"):
            await AvatarClient.connect("http://avatars.example:8080")


async def test_a_server_elsewhere_is_reached_through_the_proxy(stand, monkeypatch):
    async with proxy(b"HTTP/1.1 200 OK\r\n\r\n", stand.port) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        socket = await open_socket(f"ws://localhost.test:{stand.port}/v1/realtime", KEY)
        assert "session.created" in str(await socket.recv())
        await socket.close()


@pytest.mark.fault("relays")
async def test_a_proxy_of_a_kind_that_needs_another_package_is_told(monkeypatch):
    """A SOCKS proxy without the package for it is told in a sentence."""
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(AvatarClientError, match=r"socks5://127\.0\.0\.1:9"):
        await AvatarClient.connect("http://avatars.example:8080")


@pytest.mark.fault("relays")
async def test_https_to_a_server_without_tls_is_told(stand):
    """An https address of a server without TLS is told as such."""
    url = f"https://127.0.0.1:{stand.port}"
    with pytest.raises(AvatarClientError, match=f"without TLS .*http://127.0.0.1:{stand.port}"):
        await AvatarClient.connect(url, api_key=KEY)
    with pytest.raises(AvatarClientError, match="without TLS"):
        await list_characters(url, KEY)


@pytest.mark.fault("relays")
async def test_http_to_a_server_with_tls_is_told(tmp_path):
    """An http address of a server with TLS is told as such."""
    async with tls_server(tmp_path) as port:
        with pytest.raises(AvatarClientError, match=f"TLS only.*https://127.0.0.1:{port}"):
            await AvatarClient.connect(f"http://127.0.0.1:{port}")


@pytest.mark.fault("relays")
async def test_a_certificate_that_is_not_trusted_is_told(tmp_path):
    """A certificate that nobody trusts is told as the reason."""
    async with tls_server(tmp_path) as port:
        with pytest.raises(AvatarClientError, match=r"certificate .* not trusted"):
            await AvatarClient.connect(f"https://127.0.0.1:{port}")
        with pytest.raises(AvatarClientError, match="certificate"):
            await list_characters(f"https://127.0.0.1:{port}")


@pytest.mark.fault("intruders")
async def test_a_key_is_in_no_message_and_in_no_log_of_the_client(stand, caplog):
    """The client prints the API key nowhere, not even at level debug."""
    caplog.set_level(logging.DEBUG)
    async with await AvatarClient.connect(
        f"http://127.0.0.1:{stand.port}", "ana", api_key=f"{KEY}\n"
    ):
        pass
    wrong = "wrong-key-of-somebody"
    with pytest.raises(AvatarClientError) as refusal:
        await AvatarClient.connect(f"http://127.0.0.1:{stand.port}", api_key=wrong)

    assert refusal.value.code == "unauthorized"
    assert wrong not in str(refusal.value)
    told = [
        one.getMessage()
        for one in caplog.records
        if one.name.startswith(("avatar_client", "websockets.client"))
    ]
    assert any("Authorization" in one for one in told)
    assert not any(KEY in one or wrong in one for one in told)
