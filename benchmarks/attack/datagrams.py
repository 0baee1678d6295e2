"""Datagrams of strangers to the server's media ports."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from benchmarks.attack.target import Target

COUNT = 10_000
BATCH = 100
STUN_COOKIE = 0x2112A442


def _stun_request() -> bytes:
    """A binding request with a forged user name and without a valid signature."""
    name = b"abcd:efgh"
    attribute = struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    return struct.pack("!HHI", 0x0001, len(attribute), STUN_COOKIE) + os.urandom(12) + attribute


def _stun_answer() -> bytes:
    return struct.pack("!HHI", 0x0101, 0, STUN_COOKIE) + os.urandom(12)


def _dtls_hello() -> bytes:
    body = os.urandom(80)
    return b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", len(body)) + body


def _dtls_alert() -> bytes:
    return b"\x15\xfe\xfd" + bytes(8) + struct.pack("!H", 2) + b"\x01\x00"  # close_notify


def _rtp() -> bytes:
    return b"\x80\x60" + os.urandom(170)


def _rtcp_bye() -> bytes:
    return b"\x81\xcb\x00\x01" + os.urandom(4)


KINDS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: os.urandom(1),
    "short": lambda: os.urandom(7),
    "huge": lambda: os.urandom(60_000),
    "random": lambda: os.urandom(1200),
    "STUN request": _stun_request,
    "STUN answer": _stun_answer,
    "STUN cut off": lambda: _stun_request()[:19],
    "DTLS hello": _dtls_hello,
    "DTLS alert": _dtls_alert,
    "RTP": _rtp,
    "RTCP goodbye": _rtcp_bye,
}


async def send(target: Target, kind: str, count: int = COUNT) -> int:
    """Send datagrams of a kind to every media port of the server; how many."""
    ports, sent = target.media_ports(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        for number in range(count):
            for port in ports:
                try:
                    stranger.sendto(KINDS[kind](), (target.address, port))
                    sent += 1
                except BlockingIOError:
                    await asyncio.sleep(0.005)
            if number % BATCH == 0:
                await asyncio.sleep(0.005)
    return sent
