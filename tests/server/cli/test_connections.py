"""Raw TCP clients against the real server, on both event loops that it runs on."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from server.cli import connections, unread_output
from server.config import Limits, ServerConfig
from server.protocol.handshake import SUBPROTOCOL
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Stand, serving, until

HANDSHAKE = (
    "GET /v1/realtime?character=ana HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"
TEXT, CONTINUED = b"\x01\x81\0\0\0\0x", b"\x00\x81\0\0\0\0x"
LIMIT_S = 20.0
WRITERS: list[asyncio.StreamWriter] = []
"""Of the running test, which ends their connections."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request, character_root):
    """Run a test against a server on one kind of loop: `run(test, config)`."""

    def start(test: Callable[[Stand], Awaitable[None]], config: ServerConfig | None = None) -> None:
        async def beside_a_server() -> None:
            async with serving(config or ServerConfig(), FlashBackend(character_root)) as stand:
                try:
                    async with asyncio.timeout(LIMIT_S):
                        await test(stand)
                finally:
                    for writer in WRITERS:
                        writer.close()
                        writer.transport.abort()
                    await asyncio.sleep(0.01)
                    WRITERS.clear()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(beside_a_server())

    return start


async def opened(stand: Stand, sent: bytes = b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    WRITERS.append(writer)
    writer.write(sent)
    return reader, writer


async def web_socket(stand: Stand):
    """A socket with a session; its events are read up to `session.created`."""
    reader, writer = await opened(stand, HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    assert json.loads((await frame(reader))[1])["type"] == "session.created"
    return reader, writer


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and content of the server's next frame."""
    head = await reader.readexactly(2)
    size = head[1]
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2))
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8))
    return head[0] & 15, await reader.readexactly(size)


async def close_frame(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Code and reason of the close frame, whatever comes before it."""
    while True:
        opcode, content = await frame(reader)
        if opcode == 8:
            return int.from_bytes(content[:2]), content[2:].decode()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What the server sends until it ends the connection."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def health(stand: Stand) -> bytes:
    reader, _ = await opened(stand, HEALTH)
    return await rest(reader)


@pytest.mark.fault("sockets")
def test_half_sent_requests_are_closed_in_time(run, monkeypatch):
    """A request that never ends holds its connection for seconds, not for ever."""
    monkeypatch.setattr(connections, "HEADER_S", 0.2)
    monkeypatch.setattr(connections, "BODY_S", 0.3)
    post = b"POST /v1/speech HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    halves = (
        b"",
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        post + b"Content-Length: 100\r\n\r\n{",
        post + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        HANDSHAKE[:-2],
        HEALTH.replace(b"close", b"keep-alive") + b"GET",
    )

    async def test(stand: Stand) -> None:
        opening = [await opened(stand, half) for half in halves]
        await asyncio.gather(*(rest(reader) for reader, _ in opening))
        assert len(connections.BoundedHttp._unfinished) == 0

    run(test)


@pytest.mark.fault("sockets")
def test_a_request_that_comes_byte_by_byte_is_closed_in_time(run, monkeypatch):
    """A client that sends one byte now and then gains no time by it."""
    monkeypatch.setattr(connections, "HEADER_S", 0.3)

    async def test(stand: Stand) -> None:
        reader, writer = await opened(stand)
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's, of a closed one
            while not reader.at_eof():
                writer.write(b"G")
                await writer.drain()
                await asyncio.sleep(0.02)
        assert len(connections.BoundedHttp._unfinished) == 0

    run(test)


@pytest.mark.fault("sockets")
def test_half_requests_take_no_place_from_whole_ones(run, monkeypatch):
    """Hundreds of half-sent requests do not keep the server from answering others."""
    monkeypatch.setattr(connections.BoundedHttp._unfinished, "_most", 20)

    async def test(stand: Stand) -> None:
        for _ in range(60):
            await opened(stand, b"GET / HTTP/1.1\r\n")
        assert (await health(stand)).endswith(b'{"status":"ok"}')
        await asyncio.sleep(0.05)
        assert len(connections.BoundedHttp._unfinished) <= 20

    run(test)


@pytest.mark.fault("sockets")
def test_a_client_that_reads_no_answer_is_let_go(run, monkeypatch):
    """Who asks and never reads the answers holds neither memory nor a connection."""
    monkeypatch.setattr(unread_output, "UNREAD_S", 0.3)

    async def test(stand: Stand) -> None:
        _, writer = await opened(stand)
        writer.transport.pause_reading()
        asked = HEALTH.replace(b"healthz", b"").replace(b"close", b"keep-alive")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(asked * 100)
                await writer.drain()
        assert (await health(stand)).endswith(b'{"status":"ok"}')

    run(test)


@pytest.mark.fault("sockets")
@pytest.mark.parametrize("control", [PING, PONG, b"\x89\xfd\0\0\0\0" + bytes(125)])
def test_too_many_control_frames_close_the_socket_with_a_reason(run, control):
    """A client that floods with pings or pongs is told, and its socket closes."""

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        writer.write(control * 1000)
        code, reason = await close_frame(reader)
        assert (code, reason) == (1008, "more than 20 pings or pongs a second")
        await rest(reader)

    run(test)


@pytest.mark.fault("sockets")
def test_a_client_that_floods_and_reads_nothing_is_let_go(run, monkeypatch):
    """Pings from a client that never reads end its socket; the server keeps none of the answers."""
    monkeypatch.setattr(connections, "LINGER_S", 0.1)

    async def test(stand: Stand) -> None:
        _, writer = await web_socket(stand)
        writer.transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(PING * 1000)
                await writer.drain()
        await until(lambda: not any(each.has_socket for each in stand.hub.sessions.values()))
        assert (await health(stand)).endswith(b'{"status":"ok"}')

    run(test)


@pytest.mark.fault("sockets")
def test_fragments_are_slowed_and_bounded(run, monkeypatch):
    """A message in endless one-byte fragments is read slowly, and refused in the end."""
    monkeypatch.setattr(connections, "MAX_FRAGMENTS", 300)

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        writer.write(TEXT + CONTINUED * 500)
        assert await close_frame(reader) == (1008, "a message has more than 300 fragments")

    run(test)


@pytest.mark.fault("messages")
def test_a_message_in_fragments_is_read_like_a_whole_one(run):
    """Where a message is cut into frames, and where TCP cuts those, changes nothing."""

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        text = b'{"type":"ping","event_id":"cut"}'
        frames = [bytes([0 if n else 1, 129, 0, 0, 0, 0, byte]) for n, byte in enumerate(text)]
        frames[-1] = bytes([0x80]) + frames[-1][1:]
        for part in frames:
            writer.write(part[:3])
            await asyncio.sleep(0)
            writer.write(part[3:] + PING)
        while True:
            opcode, content = await frame(reader)
            if opcode == 1:
                break
        assert json.loads(content) == {"type": "pong", "event_id": "cut"}

    run(test)


@pytest.mark.fault("messages")
@pytest.mark.parametrize("fin", [0x81, 0x01])
def test_a_message_that_is_too_large_answers_an_error_and_a_close_code(run, fin):
    """Who sends too large a message is told so by an error event, and by close code 1009."""
    limits = Limits(max_message_bytes=100_000)

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        writer.write(bytes([fin, 0xFF]) + (200_000).to_bytes(8) + bytes(4) + b"x" * 200_000)
        opcode, content = await frame(reader)
        event = json.loads(content)
        assert (opcode, event["type"]) == (1, "error")
        assert (event["error"]["code"], event["error"]["type"]) == ("message_too_large", "fatal")
        assert "limits.max_message_bytes" in event["error"]["message"]
        code, reason = await close_frame(reader)
        assert code == 1009
        assert "exceeds limit of 100000 bytes" in reason

    run(test, ServerConfig(limits=limits))


@pytest.mark.fault("messages")
def test_text_that_is_not_utf_8_closes_the_socket_without_a_traceback(run, caplog):
    """Text that is not UTF-8 closes the socket with code 1007, and leaves no traceback."""

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        writer.write(b"\x81\x82\0\0\0\0\xff\xfe")
        assert await close_frame(reader) == (1007, "a text message is not UTF-8")

    run(test)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.fault("messages")
def test_messages_that_come_too_fast_are_all_acted_on_later(run):
    """Thousands of messages at once are read at a bounded rate, and not one is lost."""

    async def test(stand: Stand) -> None:
        reader, writer = await web_socket(stand)
        ping = b'{"type":"ping"}'
        writer.write((bytes([0x81, 0x80 | len(ping), 0, 0, 0, 0]) + ping) * 1000)
        for _ in range(1000):
            assert json.loads((await frame(reader))[1]) == {"type": "pong"}

    run(test)


def test_a_refused_handshake_is_no_error_of_the_app(run, caplog):
    async def test(stand: Stand) -> None:
        reader, _ = await opened(stand, HANDSHAKE.replace(b"avatar.v1", b"other.v1"))
        assert (await rest(reader)).startswith(b"HTTP/1.1 400")

    run(test)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.fault("sockets")
def test_a_client_that_does_not_answer_pings_is_noticed(run, monkeypatch):
    """A half-open socket ends, also if the client sent much before it vanished."""

    async def test(stand: Stand) -> None:
        await web_socket(stand)
        (session,) = stand.hub.sessions.values()
        assert session.has_socket
        await until(lambda: not session.has_socket)
        assert not session.is_closed  # it may be taken up again

    monkeypatch.setattr("server.cli.lifetime.PING_S", 0.3)
    run(test)


@pytest.mark.fault("sockets")
@pytest.mark.nightly
def test_what_one_client_leaves_unread_does_not_keep_its_socket(run, monkeypatch):
    """A client that sends events and reads no answer is let go, and its session too."""
    monkeypatch.setattr(unread_output, "UNREAD_S", 0.3)
    limits = Limits(resume_ms=100)

    async def test(stand: Stand) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", stand.port))
        await loop.sock_sendall(raw, HANDSHAKE)
        ping = json.dumps({"type": "ping", "event_id": "x" * 100}).encode()
        message = bytes([0x81, 0xFE]) + len(ping).to_bytes(2) + bytes(4) + ping
        await until(lambda: bool(stand.hub.sessions))
        with contextlib.suppress(ConnectionError):
            while True:
                await loop.sock_sendall(raw, message * 100)
        await until(lambda: not stand.hub.sessions)
        assert stand.hub.admission.active == 0
        raw.close()

    monkeypatch.setattr(connections, "FRAME_RATE", 1e6)
    run(test, ServerConfig(limits=limits))
