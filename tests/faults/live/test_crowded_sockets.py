"""Many sockets, and clients that send too much, against a real server."""

import asyncio
import contextlib
import json

import pytest
from avatar_client.events import (
    SUBPROTOCOL,
    Error,
    Pong,
    SessionClosed,
    SessionCreated,
    SessionQueued,
    SessionUpdated,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.config import Limits, ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Client, client, serving, until


@pytest.fixture
def world(character_root):
    def make(**limits: int):
        config = ServerConfig(limits=Limits(**limits))
        return serving(config, FlashBackend(character_root))

    return make


@contextlib.asynccontextmanager
async def client_of(stand, host: str):
    """A client that comes from another address of this machine."""
    address = f"ws://127.0.0.1:{stand.port}/v1/realtime?character=ana"
    options = {"subprotocols": [SUBPROTOCOL], "compression": None, "local_addr": (host, 0)}
    async with connect(address, **options) as socket:
        made = Client(socket)
        try:
            yield made
        finally:
            await made.aclose()


@pytest.mark.fault("two-writers")
@pytest.mark.parametrize("is_lost", [False, True])
async def test_of_eight_sockets_on_one_session_exactly_one_stays(world, is_lost):
    """Eight sockets that take one session up at once: one stays and hears all, seven close."""
    async with world() as stand, client(stand, "?character=ana", media=False) as first:
        created = await first.until(SessionCreated)
        if is_lost:
            first.socket.transport.abort()
        address = f"ws://127.0.0.1:{stand.port}/v1/realtime?session={created.session_id}"
        secret = f"avatar.secret.{created.resume_secret}"
        options = {"subprotocols": [SUBPROTOCOL, secret], "compression": None}
        sockets = await asyncio.gather(*(connect(address, **options) for _ in range(8)))
        clients = [Client(socket) for socket in sockets]
        await until(lambda: sum(each.socket.close_code is not None for each in clients) == 7)
        (last,) = [each for each in clients if each.socket.close_code is None]
        assert {each.socket.close_code for each in clients if each is not last} == {4001}
        for number in range(20):
            await last.send("ping", event_id=str(number))
        await last.till(lambda: last.count(Pong) == 20)
        heard = [event.event_id for event in last.events if isinstance(event, Pong)]
        assert heard == [str(number) for number in range(20)]
        assert last.count(SessionCreated) == 1
        assert all(each.count(SessionCreated) <= 1 for each in clients)
        for each in clients:
            await each.aclose()


@pytest.mark.fault("crowds")
async def test_what_a_waiting_client_may_store_is_bounded(world):
    """Who waits in the queue is told once that what it sends is not kept, and keeps its place."""
    async with (
        world(max_sessions=1, max_queued=2) as stand,
        client(stand, "?character=ana", media=False) as first,
    ):
        await first.until(SessionCreated)
        async with client(stand, "?character=ana", media=False) as waiting:
            await waiting.until(SessionQueued)
            await waiting.send("ping", event_id="kept")
            for _ in range(10):
                await waiting.socket.send(bytes(20_000))
            told = await waiting.until(Error)
            assert (told.error.code, told.retryable) == ("rate_limited", True)
            assert "Wait for session.created" in told.error.message
            await first.send("session.close")
            await waiting.until(SessionCreated)
            await waiting.send("ping", event_id="later")
            await waiting.until(Pong, lambda event: event.event_id == "later")
            heard = [event.event_id for event in waiting.events if isinstance(event, Pong)]
            assert heard == ["kept", "later"]
            codes = [event.error.code for event in waiting.events if isinstance(event, Error)]
            assert codes == ["rate_limited"] + ["bad_binary_header"] * 3


@pytest.mark.fault("crowds")
async def test_a_waiting_client_may_not_send_megabytes(world):
    """A message of megabytes from a client that waits closes its socket with a reason."""
    async with (
        world(max_sessions=1, max_queued=2) as stand,
        client(stand, "?character=ana", media=False) as first,
    ):
        await first.until(SessionCreated)
        async with client(stand, "?character=ana", media=False) as waiting:
            await waiting.until(SessionQueued)
            with contextlib.suppress(ConnectionClosed):
                await waiting.socket.send(bytes(5_000_000))
            assert "Wait for session.created" in (await waiting.until(Error)).error.message
            await waiting.socket.wait_closed()
            assert waiting.socket.close_code == 1009
            await until(lambda: stand.hub.admission.queued == 0)


@pytest.mark.fault("crowds")
@pytest.mark.parametrize("ends", ["aborts", "closes"])
async def test_clients_that_left_the_queue_are_noticed_whatever_they_sent(world, ends):
    """A client that leaves the queue is noticed at once, though much of what it sent is unread."""
    async with (
        world(max_sessions=1, max_queued=8) as stand,
        client(stand, "?character=ana", media=False) as first,
    ):
        await first.until(SessionCreated)
        async with contextlib.AsyncExitStack() as stack:
            leaving = [
                await stack.enter_async_context(client(stand, "?character=ana", media=False))
                for _ in range(4)
            ]
            for each in leaving:
                await each.until(SessionQueued)
                for _ in range(2_000):
                    await each.send("ping", event_id="x" * 40)
            for each in leaving:
                each.socket.transport.abort() if ends == "aborts" else each.socket.transport.close()
            await until(lambda: stand.hub.admission.queued == 0)
        await first.send("session.close")
        await first.until(SessionClosed)
        async with client(stand, "?character=ana", media=False) as next_one:
            await next_one.until(SessionCreated)
            assert next_one.count(SessionQueued) == 0


@pytest.mark.fault("crowds")
async def test_one_address_leaves_sessions_and_queue_to_others(world):
    """One address that opens all the sockets it can leaves a session and half of the queue."""
    async with world(max_sessions=3, max_queued=4) as stand, contextlib.AsyncExitStack() as stack:
        greedy = [
            await stack.enter_async_context(client(stand, "?character=ana", media=False))
            for _ in range(8)
        ]
        await until(lambda: sum(each.count(Error) for each in greedy) == 4)
        assert sum(each.count(SessionCreated) for each in greedy) == 2
        assert sum(each.count(SessionQueued) > 0 for each in greedy) == 2
        refused = [each for each in greedy if each.count(Error)]
        for each in refused:
            error = (await each.until(Error)).error
            assert error.code == "rate_limited"
            assert "limits.max_sessions_per_address" in error.message
            await each.socket.wait_closed()
            assert each.socket.close_code == 1013
        other = await stack.enter_async_context(client_of(stand, "127.0.0.2"))
        await other.until(SessionCreated)
        waits = await stack.enter_async_context(client_of(stand, "127.0.0.3"))
        assert (await waits.until(SessionQueued)).position == 3
        await other.send("session.close")
        await waits.until(SessionCreated)  # past the two of the greedy address


@pytest.mark.fault("crowds")
async def test_behind_a_trusted_proxy_each_client_counts_for_itself(world):
    """Behind a proxy the client's address is the one that the proxy names."""
    async with world(max_sessions=3) as stand, contextlib.AsyncExitStack() as stack:
        address = f"ws://127.0.0.1:{stand.port}/v1/realtime?character=ana"
        for number in range(3):
            named = {"X-Forwarded-For": f"192.0.2.99, 192.0.2.{number}"}
            options = {"subprotocols": [SUBPROTOCOL], "additional_headers": named}
            socket = await stack.enter_async_context(connect(address, **options))
            assert json.loads(await socket.recv())["type"] == "session.created"


@pytest.mark.fault("messages")
async def test_settings_that_change_without_end_are_refused_with_a_time_to_wait(world):
    """Hundreds of changes of the settings are answered one by one; too many are refused."""
    async with world() as stand, client(stand, "?character=ana", media=False) as talk:
        await talk.until(SessionCreated)
        for number in range(300):
            await talk.send("session.update", event_id=str(number), session={"seed": number})
        await talk.till(lambda: talk.count(SessionUpdated) + talk.count(Error) == 300)
        assert talk.count(SessionUpdated) >= 100
        refused = [event for event in talk.events if isinstance(event, Error)]
        assert refused
        assert {event.error.code for event in refused} == {"rate_limited"}
        assert all(event.retryable and event.error.event_id for event in refused)
        assert "Send it again in" in refused[0].error.message


@pytest.mark.fault("messages")
async def test_an_append_longer_than_the_buffer_is_refused_for_good(world):
    """An append that can never fit is not called retryable: it has to be cut."""
    async with (
        world(max_buffer_ms=2_000) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        await talk.until(SessionCreated)
        await talk.say(b"")  # opens and ends an empty item
        await talk.socket.send(bytes.fromhex("7aa1010000000000 00000000") + bytes(2 * 48_000))
        refused = await talk.until(Error, lambda event: event.error.code == "buffer_full")
        assert not refused.retryable
        assert "Cut it into pieces" in refused.error.message


@pytest.mark.fault("idling")
@pytest.mark.parametrize("limits", [{"idle_ms": 300}, {"max_session_ms": 600}])
async def test_sessions_end_by_the_limits_that_the_operator_sets(world, limits):
    """A session that is idle or old beyond the configured limit ends with a reason."""
    async with world(**limits) as stand, client(stand, "?character=ana", media=False) as talk:
        await talk.until(SessionCreated)
        for _ in range(8):
            await talk.send("ping")
            await asyncio.sleep(0.05)
        assert talk.count(SessionClosed) == 0
        fatal = (await talk.until(Error)).error
        assert (fatal.type, fatal.code) == ("fatal", "session_expired")
        await talk.until(SessionClosed)
        assert stand.hub.admission.active == 0
