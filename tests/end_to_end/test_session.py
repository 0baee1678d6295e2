"""The real app on a loopback port, a real WebSocket client, a real WebRTC peer."""

import asyncio
import gc
import json
import threading
from pathlib import Path

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from avatar_client.events import (
    SUBPROTOCOL,
    Error,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    Pong,
    SessionClosed,
    SessionCreated,
    SessionQueued,
    SessionUpdated,
)
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.config import Limits, Listen, ServerConfig
from server.generation.interface import StreamRequest
from server.protocol import server_events
from server.webrtc.peer import Peer
from tests.support.serving.backends import SmallBackend
from tests.support.serving.flash import FlashBackend, FlashGenerator
from tests.support.serving.stand import TIMEOUT_S, client, serving, until

KEY = "a-key-of-24-characters-0"


async def test_speech_comes_out_as_picture_and_sound_and_every_item_ends_once(
    character_root, speech
):
    async with (
        serving(ServerConfig(), SmallBackend(character_root)) as stand,
        client(stand, "?character=pair") as talk,
    ):
        await talk.say(speech(400), 0)
        await talk.say(speech(300), 1)
        await talk.till(lambda: talk.count(OutputStopped) == 2)
        await talk.say(speech(5000), 0)
        await talk.until(OutputStarted, lambda e: e.item_id.endswith("left_2"))
        await talk.send("output_audio_buffer.clear")
        cleared = await talk.until(OutputCleared)
        await talk.send("ping", event_id="last")
        await talk.until(Pong)
        assert 0 < cleared.audio_end_ms < 5000
        assert talk.count(OutputStopped) == 2
        assert talk.count(OutputCleared) == 1
        assert talk.count(OutputStarted) == 3
        assert talk.count(Error) == 0
        created = await talk.until(SessionCreated)
        assert [each.id for each in created.speakers] == ["left", "right"]
        assert talk.video.frames[0].shape == (64, 64)


def generators() -> set[int]:
    """Identities of the generators that are alive in this process."""
    gc.collect()
    return {id(o) for o in gc.get_objects() if type(o).__name__ == "StreamingGenerator"}


@pytest.mark.fault("abandoned")
async def test_a_session_that_ends_leaves_no_task_thread_or_place(character_root, speech):
    """A session that ends leaves no task, no thread and no place taken."""
    config = ServerConfig(limits=Limits(resume_ms=100))
    before = generators()
    async with serving(config, SmallBackend(character_root)) as stand:
        tasks = len(asyncio.all_tasks())
        for ending in ("close", "drop"):
            async with client(stand, "?character=ana") as talk:
                await talk.say(speech(3000))
                await talk.until(OutputStarted)
                if ending == "close":
                    await talk.send("session.close")
                    await talk.until(SessionClosed)
                    assert talk.count(OutputCleared) == 1
                else:
                    talk.socket.transport.abort()  # a browser's tab that is gone
                await talk.gone(stand)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert stand.hub.admission.active == 0
        await until(lambda: not generators() - before)
    assert all(each.name != "model" for each in threading.enumerate())


async def test_a_fault_of_ours_ends_its_session_with_a_reason(
    character_root, speech, monkeypatch, caplog
):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as bad,
        client(stand, "?character=pair") as good,
    ):
        first, _ = stand.hub.sessions.values()
        monkeypatch.setattr(first.media, "set_emotion", None)  # a bug
        monkeypatch.setattr(FlashBackend, "has_emotions", lambda _: True)
        await good.say(speech(500))
        await bad.send("avatar.emotion.update", emotion="neutral")
        fatal = await bad.until(Error)
        assert (fatal.error.type, fatal.error.code) == ("fatal", "internal")
        await bad.until(SessionClosed)
        assert "TypeError" in caplog.text
        assert (await good.until(OutputStopped)).audio_end_ms == 500


class SlowToOpen(FlashBackend):
    """Its streams open when `may_open` is set; it records the emotions that they are set to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_opening, self.may_open = threading.Event(), threading.Event()
        self.emotions: list[tuple[str, str, float]] = []

    def has_emotions(self) -> bool:
        return True

    def open(self, request: StreamRequest) -> FlashGenerator:
        self.is_opening.set()
        self.may_open.wait(TIMEOUT_S)
        generator = FlashGenerator(request.character)
        generator.set_emotion = lambda *change: self.emotions.append(change)
        return generator


@pytest.mark.parametrize("moment", ["before the offer", "while the stream opens"])
async def test_an_emotion_set_before_the_stream_is_open_is_shown(moment, character_root):
    backend = SlowToOpen(character_root)
    async with (
        serving(ServerConfig(), backend) as stand,
        client(stand, "?character=pair", media=False) as talk,
    ):
        if moment == "while the stream opens":
            await talk.open_media()
            await asyncio.to_thread(backend.is_opening.wait, TIMEOUT_S)
        await talk.send("avatar.emotion.update", speaker="right", emotion="neutral", strength=0.5)
        await talk.send("ping")
        await talk.until(Pong)
        if moment == "before the offer":
            await talk.open_media()
        backend.may_open.set()
        await talk.till(lambda: bool(talk.video.at))
        assert backend.emotions == [("right", "neutral", 0.5)]
        assert talk.count(Error) == 0


async def test_an_emotion_stays_with_its_speaker_when_the_other_is_renamed(character_root):
    backend = SlowToOpen(character_root)
    backend.may_open.set()
    async with (
        serving(ServerConfig(), backend) as stand,
        client(stand, "?character=pair", media=False) as talk,
    ):
        await talk.send("avatar.emotion.update", speaker="right", emotion="neutral")
        await talk.send("session.update", session={"speakers": [{"id": "bob", "face": 0}]})
        await talk.until(SessionUpdated)
        await talk.open_media()
        await talk.till(lambda: bool(talk.video.at))
        assert backend.emotions == [("right", "neutral", 1.0)]


async def test_an_offer_whose_session_ends_meanwhile_starts_nothing(character_root, monkeypatch):
    answer = Peer.answer

    async def answer_too_late(self):
        sdp = await answer(self)
        (session,) = stand.hub.sessions.values()
        ended.append(session)
        await session.close("ended while the offer was answered")
        return sdp

    ended = []
    monkeypatch.setattr(Peer, "answer", answer_too_late)
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        tasks = len(asyncio.all_tasks())
        async with client(stand, "?character=ana", media=False) as talk:
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTransceiver("audio", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            await talk.send("webrtc.offer", sdp=peer.localDescription.sdp)
            await talk.until(SessionClosed)
            await peer.close()
        assert ended[0].is_closed
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@pytest.mark.fault("broken-model")
async def test_a_generator_that_fails_ends_its_own_session_only(character_root, speech):
    """A stream that fails ends its own session only."""
    engine = FlashBackend(character_root, fail_for="pair")
    async with (
        serving(ServerConfig(), engine) as stand,
        client(stand, "?character=ana") as good,
        client(stand, "?character=pair") as bad,
    ):
        await good.say(speech(2500))
        fatal = await bad.until(Error)
        assert (fatal.error.type, fatal.error.code) == ("fatal", "generator_failed")
        await bad.until(SessionClosed)
        assert (await good.until(OutputStopped)).audio_end_ms == 2500


async def test_a_lost_socket_is_taken_up_again_while_the_media_play_on(character_root, speech):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        created = await talk.until(SessionCreated)
        await talk.say(speech(1500))
        await talk.until(OutputStarted)
        talk.socket.transport.abort()  # the network is gone in the middle of a word
        before = len(talk.video.at)
        address = f"ws://127.0.0.1:{stand.port}/v1/realtime?session={created.session_id}"
        secret = f"avatar.secret.{created.resume_secret}"
        async with connect(address, subprotocols=[SUBPROTOCOL, secret]) as again:
            first = json.loads(await again.recv())
            assert first["session_id"] == created.session_id
            while json.loads(await again.recv())["type"] != "output_audio_buffer.stopped":
                pass
            await talk.till(lambda: len(talk.video.at) > before + 10)
            with pytest.raises(InvalidStatus):
                await connect(address, subprotocols=[SUBPROTOCOL, "avatar.secret.guess"])


@pytest.mark.fault("abandoned")
async def test_a_socket_that_is_not_taken_up_again_frees_its_session(character_root, speech):
    """A client that vanishes and does not come back frees its session."""
    config = ServerConfig(limits=Limits(resume_ms=200))
    async with serving(config, FlashBackend(character_root)) as stand:
        async with client(stand, "?character=ana") as talk:
            await talk.say(speech(3000))
            talk.socket.transport.abort()
            await talk.gone(stand)
        assert stand.hub.admission.active == 0


@pytest.mark.fault("crowds")
async def test_a_full_server_queues_in_order_and_refuses_beyond(character_root):
    """A full server queues clients in order and refuses more with a reason."""
    config = ServerConfig(limits=Limits(max_sessions=1, max_queued=1))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as first,
    ):
        await first.until(SessionCreated)
        async with client(stand, "?character=ana", media=False) as second:
            assert (await second.until(SessionQueued)).position == 1
            async with client(stand, "?character=ana", media=False) as third:
                refused = await third.until(Error)
                assert refused.error.code == "server_full"
                await third.socket.wait_closed()
            await first.send("session.close")
            await second.until(SessionCreated)


@pytest.mark.fault("abandoned")
async def test_a_session_that_never_offers_media_gives_its_place_to_who_waits(
    character_root, speech
):
    """A session that never offers media gives its place to who waits."""
    config = ServerConfig(limits=Limits(max_sessions=1, media_timeout_ms=1000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as silent,
    ):
        await silent.until(SessionCreated)
        async with client(stand, "?character=ana", media=False) as waiting:
            await waiting.until(SessionQueued)
            await silent.say(speech(300))
            fatal = await silent.until(Error)
            assert (fatal.error.type, fatal.error.code) == ("fatal", "no_media")
            assert fatal.error.message.startswith("No webrtc.offer")
            assert "within 1 s" in fatal.error.message
            await silent.until(SessionClosed)
            await waiting.until(SessionCreated)


async def test_speech_may_come_before_the_offer_and_media_may_stay(character_root, speech):
    config = ServerConfig(limits=Limits(media_timeout_ms=2000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        await talk.say(speech(2500))  # is heard longer than an offer is waited for
        await talk.open_media()
        assert (await talk.until(OutputStopped)).audio_end_ms == 2500
        assert talk.count(Error) == 0


async def test_an_unknown_character_is_told_which_there_are(character_root):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ghost", media=False) as talk,
    ):
        refused = await talk.until(Error)
        assert refused.error.code == "unknown_character"
        assert "ana, pair" in refused.error.message


async def test_settings_before_the_media_are_granted_and_told(character_root):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        faces = [{"id": "eve", "face": 1}]
        form = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}}
        await talk.send("session.update", session={"character": "pair", "speakers": faces, **form})
        updated = await talk.until(SessionUpdated)
        assert [each.id for each in updated.speakers] == ["left", "eve"]
        assert updated.audio.input.format.rate == 24000


async def test_with_an_api_key_only_its_holders_come_in(character_root):
    config = ServerConfig(listen=Listen(api_key=KEY))
    async with serving(config, FlashBackend(character_root)) as stand:
        base = f"http://127.0.0.1:{stand.port}"
        realtime = f"ws://127.0.0.1:{stand.port}/v1/realtime"
        with pytest.raises(InvalidStatus) as refused:
            await connect(realtime, subprotocols=[SUBPROTOCOL])
        assert refused.value.response.status_code == 401
        async with httpx.AsyncClient(base_url=base) as http:
            assert (await http.get("/v1/characters")).status_code == 401
            assert (await http.get("/healthz")).json() == {"status": "ok"}
            http.headers["authorization"] = f"Bearer {KEY}"
            listed = (await http.get("/v1/characters")).json()["characters"]
            assert [each["id"] for each in listed] == ["ana", "pair"]
            assert (await http.get(listed[0]["picture_url"])).headers[
                "content-type"
            ] == "image/webp"
            assert (await http.get(listed[0]["preview_url"])).headers["content-type"] == "image/png"
            metrics = (await http.get("/metrics")).text
            assert "avatar_sessions" in metrics
            assert "process_resident_memory_bytes" in metrics
            assert (await http.get("/readyz")).json() == {"status": "ready"}
            made = (await http.post("/v1/realtime/sessions")).json()["client_secret"]
        offered = [SUBPROTOCOL, f"avatar.secret.{made['value']}"]
        async with connect(realtime, subprotocols=offered) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


@pytest.mark.fault("abandoned")
async def test_a_close_that_is_cut_off_still_frees_the_place(character_root, monkeypatch):
    """An end that is cut off still frees the place."""
    close, closing = Peer.close, asyncio.Event()

    async def close_slowly(self):
        closing.set()
        await asyncio.sleep(0.2)
        await close(self)

    monkeypatch.setattr(Peer, "close", close_slowly)
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        (session,) = stand.hub.sessions.values()
        first = asyncio.create_task(session.close("first"))
        await closing.wait()
        first.cancel()  # as a lost socket or a second reason to end does
        await asyncio.wait_for(session.close("second"), 10)
        assert (await talk.until(SessionClosed)).reason == "first"
        assert stand.hub.admission.active == 0


async def test_events_that_a_dead_socket_did_not_take_wait_for_the_next(character_root):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        created = await talk.until(SessionCreated)
        (session,) = stand.hub.sessions.values()
        talk.socket.transport.abort()
        await until(lambda: not session.has_socket)
        session.emit(server_events.Pong(event_id="kept"))
        protocols = [SUBPROTOCOL, f"avatar.secret.{created.resume_secret}"]
        address = f"ws://127.0.0.1:{stand.port}/v1/realtime?session={created.session_id}"
        async with connect(address, subprotocols=protocols, compression=None) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"
            assert json.loads(await socket.recv())["event_id"] == "kept"
