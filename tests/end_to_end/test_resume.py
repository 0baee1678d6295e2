"""The Python client over a connection that breaks in the middle of a talk."""

import asyncio
import contextlib
import logging

import pytest
from avatar_client.client import AvatarClient
from avatar_client.errors import AvatarClientError
from avatar_client.events import Error, OutputStarted, OutputStopped, SessionCreated
from avatar_client.session_socket import expect

from server.config import Limits, ServerConfig
from tests.support.network.cable import cable
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving, until

LIMIT_S = 30.0


@pytest.fixture
def world(character_root):
    """A server and a client whose socket runs through a cable: `async with world() as ...`."""

    @contextlib.asynccontextmanager
    async def make(resume_ms: int = 10_000, character: str = "ana"):
        config = ServerConfig(limits=Limits(resume_ms=resume_ms))
        async with (
            serving(config, FlashBackend(character_root)) as stand,
            cable(stand.port) as line,
            await AvatarClient.connect(
                f"http://127.0.0.1:{line.port}", character, rate=16_000
            ) as client,
        ):
            await client.open_media()
            yield stand, line, client

    return make


async def lost(client: AvatarClient) -> None:
    """Wait until the client has noticed that its socket is gone."""
    await until(lambda: not client._socket._has_socket.is_set())


async def test_a_character_talks_on_over_a_cut_and_nothing_is_lost(world, speech):
    async with world() as (stand, line, client):
        shown: list[object] = []
        client.media.tap(lambda received: received.kind == "video" and shown.append(received))
        with client.events() as events, client.events() as all_events:

            async def halves():
                yield speech(1000)
                await expect(events, OutputStarted, LIMIT_S)  # the first half has arrived
                line.cut()
                before = len(shown)
                await until(lambda: len(shown) > before + 5)  # the media play on
                joining.append(asyncio.create_task(rejoin()))
                yield speech(1000)  # waits for the socket

            async def rejoin():
                await lost(client)
                await line.join()

            joining: list[asyncio.Task[None]] = []
            assert await client.speak(halves())
            stopped = await expect(events, OutputStopped, LIMIT_S)
            await asyncio.gather(*joining)
        assert stopped.audio_end_ms == 2000
        assert line.joins == 2
        assert [session.id for session in stand.hub.sessions.values()] == [
            client.session.session_id
        ]
        seen = [event async for event in all_events]
        assert not [event for event in seen if isinstance(event, Error)]
        assert sum(isinstance(event, SessionCreated) for event in seen) >= 1


async def test_what_the_server_said_meanwhile_is_heard_afterwards(world, speech):
    async with world() as (_, line, client):
        with client.events() as events:
            await client.speak(speech(500))
            await expect(events, OutputStarted, LIMIT_S)
            line.cut()
            before = client.media.video.dropped
            await until(lambda: client.media.video.dropped > before + 25)  # a second goes by
            await line.join()
            assert (await expect(events, OutputStopped, LIMIT_S)).audio_end_ms == 500


async def test_speech_that_was_on_its_way_at_the_cut_is_told_as_a_gap(world, speech):
    async with world() as (_, line, client):
        with client.events() as events, client.events() as errors:
            await client.speak(speech(100))
            await expect(events, OutputStopped, LIMIT_S)
            line.cut()
            await client.speak(speech(100))  # into a socket that has not noticed yet
            await lost(client)
            await line.join()
            await client.speak(speech(200))
            assert (await expect(events, OutputStopped, LIMIT_S)).audio_end_ms == 200
        told = [event.error.code async for event in errors if isinstance(event, Error)]
        assert told == ["sequence_gap"]


async def test_two_speakers_who_wait_for_the_socket_leave_no_gap(world, speech):
    async with world(character="pair") as (_, line, client):
        with client.events() as events, client.events() as errors:
            for speaker in ("left", "right"):
                await client.speak(speech(100), speaker)
                await expect(events, OutputStopped, LIMIT_S)
            line.cut()
            await lost(client)
            given_up = asyncio.create_task(client.speak(speech(100), "left"))
            await asyncio.sleep(0)  # it waits
            both = [
                asyncio.create_task(client.speak(speech(200), speaker))
                for speaker in ("right", "left")
            ]
            await asyncio.sleep(0)
            given_up.cancel()
            await line.join()
            assert await asyncio.gather(*both) == [True, True]
            stopped = [await expect(events, OutputStopped, LIMIT_S) for _ in both]
            assert [event.audio_end_ms for event in stopped] == [200, 200]
            await client.speak(speech(100), "left")
            await expect(events, OutputStopped, LIMIT_S)
        assert not [event async for event in errors if isinstance(event, Error)]


async def test_a_cut_that_lasts_too_long_ends_the_session_with_an_error(world, speech):
    async with world(resume_ms=300) as (stand, line, client):
        with client.events() as events:
            line.cut()
            assert [event async for event in events] == []
        with pytest.raises(AvatarClientError, match="Connect again"):
            await client.speak(speech(100))
        await until(lambda: not stand.hub.sessions)


async def test_a_session_that_is_gone_is_not_asked_for_again(world, speech):
    async with world() as (stand, line, client):
        (session,) = stand.hub.sessions.values()
        line.cut()
        await lost(client)
        await session.close("ended meanwhile")
        await line.join()
        with pytest.raises(AvatarClientError, match="Connect again"):
            await client.speak(speech(100))
        assert line.joins == 2


async def test_a_client_whose_socket_is_lost_closes_at_once(world):
    async with world() as (_, line, client):
        line.cut()
        await lost(client)
        began = asyncio.get_running_loop().time()
        await client.aclose()
        assert asyncio.get_running_loop().time() - began < 3  # not the ten seconds of a session


@pytest.mark.parametrize(
    ("resume_ms", "told"),
    [
        (300, "lost its socket; trying to resume it for 300 ms"),
        (0, "lost its socket and ends: resume_ms is 0"),
    ],
)
async def test_the_log_says_what_becomes_of_a_session_without_socket(
    world, caplog, resume_ms, told
):
    with caplog.at_level(logging.WARNING, "avatar_client.session_socket"):
        async with world(resume_ms) as (_, line, client):
            with client.events() as events:
                line.cut()
                assert [event async for event in events] == []
    assert [r.getMessage() for r in caplog.records if r.name == "avatar_client.session_socket"] == [
        f"{client.session.session_id} {told}"
    ]
