"""What may be offered: codecs, one kind alone, another peer after the first one is gone."""

import asyncio

import pytest
from avatar_client.events import Error, OutputStarted, OutputStopped

from server.config import Limits, ServerConfig
from server.protocol.errors import ErrorCode, ProtocolError
from server.webrtc.peer import Peer
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client, serving
from tests.support.serving.virtual_clock import pass_time


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_the_offered_video_codec_is_sent(character_root, codec):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        answer = await talk.open_media(video_codec=codec)
        await talk.till(lambda: len(talk.video.at) > 5 and len(talk.audio.at) > 5)
    assert codec.removeprefix("video/") in answer


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_one_kind_alone_is_served(character_root, speech, kind):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        await talk.open_media((kind,))
        await talk.say(speech(300))
        await talk.until(OutputStopped)
        seen, other = (talk.audio, talk.video) if kind == "audio" else (talk.video, talk.audio)
        await talk.till(lambda: len(seen.at) > 5)
        assert not other.at


async def test_a_peer_that_is_gone_is_replaced_by_the_next_offer_and_the_item_plays_on(
    character_root, speech
):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        await talk.say(speech(1200))
        await talk.until(OutputStarted)
        (session,) = stand.hub.sessions.values()
        await talk.peer.close()
        await talk.media.aclose()
        await session.media._peer.close()
        before = len(talk.video.at)
        await talk.open_media()
        assert (await talk.until(OutputStopped)).audio_end_ms == 1200
        await talk.till(lambda: len(talk.video.at) > before + 5)


async def test_an_offer_in_time_is_answered_however_long_that_takes(character_root, monkeypatch):
    answer = Peer.answer

    async def slow(peer: Peer) -> str:
        pass_time(monkeypatch, 10)  # as when a far STUN server delays the candidates
        await asyncio.sleep(0.01)  # timers that are due go off
        return await answer(peer)

    monkeypatch.setattr(Peer, "answer", slow)
    config = ServerConfig(limits=Limits(media_timeout_ms=5000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        assert talk.count(Error) == 0


async def test_after_an_offer_that_failed_another_one_is_waited_for(character_root, monkeypatch):
    async def failing(peer: Peer) -> str:
        pass_time(monkeypatch, 10)
        await asyncio.sleep(0.01)  # timers that are due go off
        raise ProtocolError(ErrorCode.INVALID_SDP, "found nothing that can be answered")

    monkeypatch.setattr(Peer, "answer", failing)
    config = ServerConfig(limits=Limits(media_timeout_ms=5000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        await talk.send("webrtc.offer", sdp="v=0")
        await talk.until(Error, lambda event: event.error.code == "invalid_sdp")
        pass_time(monkeypatch, 10)
        await talk.until(Error, lambda event: event.error.code == "no_media")
        assert [e.error.code for e in talk.events if isinstance(e, Error)] == [
            "invalid_sdp",
            "no_media",
        ]
