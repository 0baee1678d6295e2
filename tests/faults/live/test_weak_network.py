"""Real sessions over links with little bandwidth, loss and jitter."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from avatar_client.events import SessionDegraded, SessionRecovered

from server.config import ServerConfig
from server.generation.interface import StreamRequest
from tests.support.network.link import Link
from tests.support.serving.flash import FlashBackend, FlashGenerator
from tests.support.serving.stand import Client, Seen, client, serving

KBIT_100 = 100_000


class MovingGenerator(FlashGenerator):
    """Pictures of 256 pixels with a small part that always changes: some 300 kbit/s of VP8."""

    def _picture(self, frame: int) -> np.ndarray:
        chance = np.random.default_rng(frame)
        pixels = np.full((256, 256, 3), 90, np.uint8)
        pixels[120:152, 100:156] = chance.integers(60, 120, (8, 14, 3)).repeat(4, 0).repeat(4, 1)
        return pixels


class MovingBackend(FlashBackend):
    def open(self, request: StreamRequest) -> FlashGenerator:
        return MovingGenerator(request.character)


@dataclass(frozen=True)
class Times:
    """When frames of a track arrived, and how late against the earliest one."""

    arrived: np.ndarray
    late: np.ndarray

    def between(self, since: float, until: float) -> "Times":
        chosen = (self.arrived >= since) & (self.arrived < until)
        return Times(self.arrived[chosen], self.late[chosen])


def times(seen: Seen, clock_hz: int) -> Times:
    arrived = np.array(seen.at)
    late = arrived - np.array(seen.pts) / clock_hz
    return Times(arrived, late - late.min())


async def watch(link: Link, talk: Client, seconds: float) -> tuple[float, float]:
    """Open the media over a link and watch; when that began and ended."""
    await talk.open_media(links=(link, Link()))
    await talk.till(lambda: bool(talk.video.at and talk.audio.at))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(seconds)
    return began, loop.time()


async def weak_then_free(root, weak_s: float, free_s: float) -> tuple[Client, float, float, float]:
    link = Link()
    async with (
        serving(ServerConfig(), MovingBackend(root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        _, began = await watch(link, talk, 2)
        link.bps = KBIT_100
        await asyncio.sleep(weak_s)
        freed = asyncio.get_running_loop().time()
        link.bps = None
        await asyncio.sleep(free_s)
        return talk, began, freed, asyncio.get_running_loop().time()


@pytest.mark.fault("weak-networks")
async def test_a_real_session_over_100_kbit(character_root):
    """Over a real link of 100 kbit/s sound goes on, in time, and so do pictures."""
    talk, began, freed, _ = await weak_then_free(character_root, 4, 0.5)
    sound = times(talk.audio, 48_000).between(began, freed)
    assert len(sound.late) > 0.8 * 50 * (freed - began)
    assert sound.late.max() < 1.5
    assert len(times(talk.video, 90_000).between(began, freed).late) > 10


@pytest.mark.nightly
@pytest.mark.fault("weak-networks")
async def test_a_minute_at_100_kbit_then_free(character_root):
    """After a minute at 100 kbit/s the delay has not grown, and five seconds after its end every
    picture comes again; the client is told of both.
    """
    talk, began, freed, ended = await weak_then_free(character_root, 60, 12)
    sound, video = times(talk.audio, 48_000), times(talk.video, 90_000)
    assert sound.between(began + 3, freed).late.max() < 1.0
    assert len(video.between(began + 3, freed).late) > 8 * (freed - began - 3)
    assert len(video.between(freed + 5, ended).late) > 23 * (ended - freed - 5)
    network = [
        type(each)
        for each in talk.events
        if isinstance(each, SessionDegraded) and each.cause == "network"
    ]
    assert network == [SessionDegraded, SessionRecovered]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("link", "pictures"),
    [(Link(loss=0.05), 23), (Link(loss=0.25), 15), (Link(jitter_s=0.3), 20)],
    ids=["5 % loss", "25 % loss", "300 ms jitter"],
)
@pytest.mark.fault("weak-networks")
async def test_loss_and_jitter_for_twenty_seconds(character_root, link, pictures):
    """Loss of 25 % and jitter of 300 ms leave a stream that moves, in time."""
    async with (
        serving(ServerConfig(), MovingBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        began, ended = await watch(link, talk, 20)
    video = times(talk.video, 90_000).between(began, ended)
    assert len(video.late) > pictures * (ended - began)
    assert np.diff(video.arrived).max() < 2.0
