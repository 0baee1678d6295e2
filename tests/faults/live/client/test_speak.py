"""`speak` of the Python client: whatever becomes of the speech, its item ends."""

import asyncio

import av
import numpy as np
import pytest
from avatar_client.client import AvatarClient
from avatar_client.events import OutputCleared, OutputStarted, OutputStopped
from avatar_client.session_socket import EventReader

from server.config import ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

RATE = 16_000


def sound(ms: int) -> bytes:
    times = np.arange(RATE * ms // 1000) / RATE
    return (np.sin(2 * np.pi * 300 * times) * 8_000).astype("<i2").tobytes()


@pytest.fixture
async def client(character_root):
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        url = f"http://127.0.0.1:{stand.port}"
        async with await AvatarClient.connect(url, "ana", rate=RATE) as client:
            await client.open_media()
            yield client


async def first(events: EventReader, *kinds: type):
    async with asyncio.timeout(20):
        async for event in events:
            if isinstance(event, kinds):
                return event
    raise AssertionError("the session ended")


@pytest.mark.fault("turns")
async def test_speech_whose_source_fails_is_played_and_ends(client):
    """If the source of speech fails, what came is played and its item ends."""

    async def failing():
        yield sound(300)
        yield sound(300)
        raise RuntimeError("the voice died")

    with client.events() as events:
        with pytest.raises(RuntimeError, match="the voice died"):
            await client.speak(failing())
        stopped = await first(events, OutputStopped, OutputCleared)
        assert isinstance(stopped, OutputStopped)
        assert stopped.audio_end_ms == 600

        await client.speak(sound(400))
        again = await first(events, OutputStopped, OutputCleared)
    assert again.audio_end_ms == 400
    assert again.item_id != stopped.item_id


@pytest.mark.fault("turns")
async def test_a_cancelled_speak_silences_the_speaker_and_the_next_is_another_item(
    client,
):
    """A cancelled `speak` interrupts the speaker, as barge-in asks."""
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                yield sound(200)
                await asyncio.sleep(0.05)
        finally:
            closed.set()

    with client.events() as events:
        speaking = asyncio.create_task(client.speak(endless()))
        started = await first(events, OutputStarted)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        assert closed.is_set()  # the source is not left open
        cleared = await first(events, OutputStopped, OutputCleared)
        assert isinstance(cleared, OutputCleared)
        assert cleared.item_id == started.item_id

        await client.speak(sound(400))
        stopped = await first(events, OutputStopped, OutputCleared)
    assert (stopped.audio_end_ms, stopped.interrupted) == (400, False)


@pytest.mark.fault("turns")
async def test_a_speak_that_is_cancelled_while_it_waits_leaves_the_running_one_alone(client):
    """A `speak` that is cancelled before it sent anything interrupts nothing."""
    may_go_on = asyncio.Event()

    async def slow():
        yield sound(300)
        await may_go_on.wait()
        yield sound(300)

    with client.events() as events:
        running = asyncio.create_task(client.speak(slow()))
        await first(events, OutputStarted)
        waiting = asyncio.create_task(client.speak(sound(500)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        may_go_on.set()
        assert await running
        stopped = await first(events, OutputStopped, OutputCleared)
    assert (stopped.audio_end_ms, stopped.interrupted) == (600, False)


@pytest.mark.fault("offers")
async def test_a_second_open_media_closes_the_first_connection(client, tmp_path):
    """A second `open_media` of the Python client closes the first connection and plays on."""
    recorder = client.record(tmp_path / "a.mp4")
    frames = aiter(client.media.video)
    async with asyncio.timeout(20):
        await client.media.synchronised.wait()
        before = [(await anext(frames)).pts for _ in range(60)]
    first = client._peer
    assert first is not None
    await client.open_media()
    assert first.connectionState == "closed"

    async with asyncio.timeout(20):
        after = [(await anext(frames)).pts for _ in range(60)]
    pts = before + after
    assert pts == sorted(pts)
    await recorder.aclose()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 60
