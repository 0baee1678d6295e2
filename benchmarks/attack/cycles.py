"""Sessions that come and go in five ways, again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from benchmarks.attack.raw_session import raw_session
from benchmarks.attack.target import Target

AT_ONCE = 2


async def closed(target: Target) -> None:
    """Media, and a proper end."""
    async with raw_session(target, media=True) as session:
        await session.send("session.close")
        await session.event("session.closed")


async def cut_off(target: Target) -> None:
    """The socket breaks in mid-session."""
    async with raw_session(target, media=True) as session:
        session.socket.transport.abort()


async def silent(target: Target) -> None:
    """A session without an offer."""
    async with raw_session(target):
        pass


async def vanished(target: Target) -> None:
    """An offer whose peer is gone before it connects, and the socket with it."""
    async with raw_session(target, media=True) as session:
        assert session.peer is not None
        await session.peer.close()
        session.socket.transport.abort()


async def interrupted(target: Target) -> None:
    """Speech that is interrupted, then the end."""
    async with raw_session(target, media=True) as session:
        await session.socket.send(b"")
        await session.send("input_audio_buffer.append", audio="AAAA" * 4000)
        await session.send("output_audio_buffer.clear")
        await session.send("session.close")
        await session.event("session.closed")


KINDS: Sequence[Callable[[Target], Coroutine[Any, Any, None]]] = (
    closed, cut_off, silent, vanished, interrupted,
)  # fmt: skip


async def cycle(target: Target, count: int) -> int:
    """`count` sessions, a few at once; how many did not go as they should."""
    numbers, failed = iter(range(count)), 0

    async def work() -> None:
        nonlocal failed
        for number in numbers:
            try:
                async with asyncio.timeout(120):
                    await KINDS[number % len(KINDS)](target)
            except (TimeoutError, ConnectionError, OSError):
                failed += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return failed


async def settled(target: Target, within_s: float = 60.0) -> None:
    """Wait until no session but the neighbour's lives."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while target.gauge("avatar_sessions") > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
