"""A reverse proxy on a loopback port that treats requests as nginx does with common settings."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOP_BY_HOP = ("connection", "upgrade", "keep-alive")


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """As `location /prefix/ { proxy_pass http://server/; .. }`.

    `host` is what is sent as Host: "$http_host", what the browser sent; "$host", the same without
    its port; anything else as it is. nginx's default is the address of the server behind it.
    """

    prefix: str = "/"
    host: str = "$http_host"
    passes_upgrade: bool = True


@contextlib.asynccontextmanager
async def proxying(
    port: int, settings: ProxySettings, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The address of a proxy before the server on `port`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            passed = _rewritten(head.decode("latin-1"), settings)
            if passed is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            else:
                await _relay(passed.encode("latin-1"), port, reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        own = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{own}{settings.prefix}"


def _rewritten(head: str, settings: ProxySettings) -> str | None:
    """The head as the server gets it; None if its path is not ours."""
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    if not target.startswith(settings.prefix):
        return None
    fields = [line.partition(":")[::2] for line in lines]
    asked = {name.lower(): value.strip() for name, value in fields}
    host = settings.host.replace("$http_host", asked["host"])
    host = host.replace("$host", asked["host"].partition(":")[0])
    kept = [f"{n}:{v}" for n, v in fields if n.lower() not in (*HOP_BY_HOP, "host")]
    is_upgrade = "upgrade" in asked and settings.passes_upgrade
    hop = ["Upgrade: websocket", "Connection: upgrade"] if is_upgrade else ["Connection: close"]
    path = "/" + target.removeprefix(settings.prefix)
    return "\r\n".join([f"{method} {path} {version}", f"Host: {host}", *kept, *hop, "", ""])


async def _relay(
    head: bytes, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One request on one connection, or a WebSocket, until either side ends."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    server_writer.write(head)
    upload = asyncio.create_task(_pump(reader, server_writer))
    try:
        await _pump(server_reader, writer)
    finally:
        upload.cancel()
        server_writer.close()
        await asyncio.gather(upload, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret
