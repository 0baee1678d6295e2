"""Attacks over WebSockets and TCP: messages, floods, queues, half requests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

from avatar_client.events import SUBPROTOCOL, pack_binary_append
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from benchmarks.attack.hostile_messages import HostileMessages
from benchmarks.attack.raw_session import raw_session
from benchmarks.attack.target import Target

BIG = 16_500_000
HALF_REQUESTS = 800
BATCH = 500


async def hostile_messages(target: Target, count: int, seed: int = 1) -> int:
    """`count` random messages, over a new session whenever one ends; how many were sent."""
    messages, sent = iter(HostileMessages(seed)), 0
    while sent < count:
        with contextlib.suppress(ConnectionClosed, ConnectionError):
            async with raw_session(target) as session:
                for message in islice(messages, min(BATCH * 20, count - sent)):
                    await session.socket.send(message)
                    sent += 1
    return sent


async def _repeat(
    target: Target, seconds: float, message: Callable[[], str | bytes], pause_s: float = 0.0
) -> int:
    """The same kind of message for a while, over new sessions if need be."""
    until, sent = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionClosed, ConnectionError, TimeoutError):
            async with raw_session(target) as session, asyncio.timeout_at(_at(until)):
                while time.monotonic() < until:
                    await session.socket.send(message())
                    sent += 1
                    await asyncio.sleep(pause_s)
    return sent


def _at(monotonic: float) -> float:
    return asyncio.get_running_loop().time() + max(0.0, monotonic - time.monotonic())


async def settings(target: Target, seconds: float) -> int:
    """Changes of the settings without end."""
    names, count = ("maya", "mira", "ana-ben", "arthur"), 0

    def message() -> str:
        nonlocal count
        count += 1
        return f'{{"type":"session.update","session":{{"character":"{names[count % 4]}"}}}}'

    return await _repeat(target, seconds, message)


async def big_lists(target: Target, seconds: float) -> int:
    """JSON of 17 MB that is all brackets."""
    text = '{"type":"ping","x":[' + "[]," * (BIG // 3) + "[]]}"
    return await _repeat(target, seconds, lambda: text)


async def big_appends(target: Target, seconds: float) -> int:
    """Appends of 17 MB, as text and as bytes in turn."""
    audio = base64.b64encode(os.urandom(BIG * 3 // 4 - 100)).decode()
    text = f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'
    binary = pack_binary_append(os.urandom(BIG), 0)
    turns = [0]

    def message() -> str | bytes:
        turns[0] += 1
        return text if turns[0] % 2 else binary

    return await _repeat(target, seconds, message)


async def small_messages(target: Target, seconds: float) -> int:
    """Pings as fast as the socket takes them."""
    return await _repeat(target, seconds, lambda: '{"type":"ping"}')


async def many_items(target: Target, seconds: float) -> int:
    """Items of one message each, at rates that need resampling, in turn."""
    rates, count = (8_000, 11_025, 44_099, 48_000), 0

    def message() -> str | bytes:
        nonlocal count
        count += 1
        match count % 3:
            case 0:
                rate = rates[count // 3 % 4]
                audio = f'{{"input":{{"format":{{"type":"audio/pcm","rate":{rate}}}}}}}'
                return f'{{"type":"session.update","session":{{"audio":{audio}}}}}'
            case 1:
                return pack_binary_append(bytes(480), 0)
            case _:
                return pack_binary_append(b"", 0, commit=True)

    return await _repeat(target, seconds, message, 0.001)


async def queued_hoarders(target: Target, seconds: float) -> int:
    """Clients that fill every place and the queue, send megabytes while they wait, and leave."""
    sent = 0

    async def hoard() -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed, ConnectionError, TimeoutError, OSError):
            async with raw_session(target, admitted=False) as session:
                async with asyncio.timeout(seconds):
                    for _ in range(80):
                        await session.socket.send("x" * 1_000_000)
                        sent += 1

    await asyncio.gather(*(hoard() for _ in range(12)))
    return sent


async def take_ups(target: Target, seconds: float) -> int:
    """Eight sockets take one session up at once; how many stay open."""
    async with raw_session(target) as session:
        created = await session.event("session.created")
        secret = created["resume_secret"]
        query = f"?session={created['session_id']}"
        opened = await asyncio.gather(
            *(_hold(target, query, secret, seconds) for _ in range(8)), return_exceptions=True
        )
    return sum(one is True for one in opened)


async def _hold(target: Target, query: str, secret: str, seconds: float) -> bool:
    """Whether a socket that took the session up is still open in the end."""
    from websockets.asyncio.client import connect

    protocols = [Subprotocol(SUBPROTOCOL), Subprotocol(f"avatar.secret.{secret}")]
    async with connect(target.socket_url + query, subprotocols=protocols, proxy=None) as socket:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in socket:
                    pass
        return socket.close_code is None


# ---------------------------------------------------------------- below the messages


async def ping_flood(target: Target, seconds: float) -> int:
    """Control frames from a client that never reads the answers."""
    frame = b"\x89\x80\x00\x00\x00\x00" * 1000
    large = b"\x89\xfd\x00\x00\x00\x00" + bytes(125)
    return await _raw_frames(target, seconds, frame + large * 1000)


async def fragments(target: Target, seconds: float) -> int:
    """One message in fragments of one byte."""
    first = b"\x01\x81\x00\x00\x00\x00x"
    rest = b"\x00\x81\x00\x00\x00\x00x" * 10_000
    return await _raw_frames(target, seconds, rest, first)


async def _raw_frames(target: Target, seconds: float, frames: bytes, first: bytes = b"") -> int:
    reader, writer = await asyncio.open_connection(target.address, target.port)
    writer.write(_handshake(target) + first)
    await reader.readuntil(b"\r\n\r\n")
    until, sent = time.monotonic() + seconds, 0
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout_at(_at(until)):
            while time.monotonic() < until and not writer.transport.is_closing():
                writer.write(frames)
                await writer.drain()
                sent += len(frames)
    writer.transport.abort()
    return sent


def _handshake(target: Target) -> bytes:
    return (
        f"GET /v1/realtime HTTP/1.1\r\nHost: {target.address}:{target.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode()


async def half_requests(target: Target, seconds: float) -> int:
    """Requests that never end; how many the server still holds at the end."""
    halves = (
        b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"POST /v1/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        _handshake(target)[:-2],
    )  # fmt: skip
    writers, readers = [], []
    for number in range(HALF_REQUESTS):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(target.address, target.port)
            writer.write(halves[number % len(halves)])
            writers.append(writer)
            readers.append(reader)
    await asyncio.sleep(seconds)
    held = sum(not reader.at_eof() and reader.exception() is None for reader in readers)
    for writer in writers:
        writer.transport.abort()
    return held


Attack = Callable[[Target, float], Coroutine[Any, Any, int]]
