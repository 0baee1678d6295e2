"""The event loop stays free: nothing that one session does takes long on it."""

import asyncio
import asyncio.events
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.asyncio.client import connect

from runtime.character.registry import CharacterRegistry
from runtime.character.store import BUILTIN_CHARACTERS
from server.config import Limits, ServerConfig
from server.protocol.handshake import SUBPROTOCOL
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

SESSIONS = 20
LONGEST_CALLBACK_S = 0.005  # of processor time, so that a busy machine does not count


@pytest.fixture
def callbacks(monkeypatch) -> dict[int, list[float]]:
    """Processor seconds of every callback that an event loop runs, by thread."""
    found: dict[int, list[float]] = {}
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.events.Handle) -> None:
        before = time.thread_time()
        run(handle)
        found.setdefault(threading.get_ident(), []).append(time.thread_time() - before)

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    return found


@contextmanager
def served_on_a_thread() -> Iterator[tuple[int, int]]:
    """A server with the built-in characters; its port and its thread."""
    started, stop = threading.Event(), threading.Event()
    ports: list[int] = []
    backend = FlashBackend(BUILTIN_CHARACTERS)
    backend.characters = CharacterRegistry((BUILTIN_CHARACTERS,))
    config = ServerConfig(limits=Limits(max_sessions=SESSIONS + 2))

    async def serve() -> None:
        async with serving(config, backend) as stand:
            ports.append(stand.port)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(60)
        assert thread.ident is not None
        yield ports[0], thread.ident
    finally:
        stop.set()
        thread.join()


async def open_and_update(port: int, number: int) -> None:
    address = f"ws://127.0.0.1:{port}/v1/realtime"
    async with connect(address, subprotocols=[SUBPROTOCOL], compression=None) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
        for name in ("ana-ben", "mira", "arthur"):
            update = {"character": name, "seed": number}
            await socket.send(json.dumps({"type": "session.update", "session": update}))
            assert json.loads(await socket.recv())["type"] == "session.updated"


async def test_sessions_that_open_and_update_leave_the_loop_free(callbacks) -> None:
    with served_on_a_thread() as (port, thread):
        await open_and_update(port, 0)  # what is loaded once
        callbacks.clear()
        await asyncio.gather(*(open_and_update(port, number) for number in range(SESSIONS)))
        taken = sorted(callbacks[thread])
    assert len(taken) > 10 * SESSIONS
    assert taken[-len(taken) // 100] < LONGEST_CALLBACK_S  # p99
    assert taken[-1] < 4 * LONGEST_CALLBACK_S
