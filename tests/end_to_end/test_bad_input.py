"""Bad input over a real socket: each kind gets its error, and the session next to it plays on."""

import io

import av
import httpx
import numpy as np
from avatar_client.events import Error, OutputStarted, OutputStopped, pack_binary_append

from server.config import Limits, Model, ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client, serving, until

BAD_TEXTS = {
    "{ no json": "invalid_json",
    '{"type": "make.coffee"}': "unknown_event",
    '{"type": "input_audio_buffer.append", "audio": "%%%"}': "invalid_base64",
    '{"type": "input_audio_buffer.append", "audio": "AAA=", "speaker": "ghost"}': "unknown_speaker",
    '{"type": "input_audio_buffer.append", "audio": "SUQzBAAAAAA="}': "container_not_pcm",
    '{"type": "input_audio_buffer.commit"}': "empty_commit",
    '{"type": "session.update", "character": "ghost"}': "media_started",
    '{"type": "session.update", "audio": {"input": {"format": {"rate": 0}}}}': "unsupported_rate",
    '{"type": "session.update", "preset": "balanced"}': "media_started",
    '{"type": "avatar.emotion.update", "emotion": "bored"}': "unsupported",
    '{"type": "session.update", "speakers": [{"id": "left", "emotion": "happy"}]}': "unsupported",
    '{"type": "session.update", "speakers": [{"id": "left", "face": 1}]}': "media_started",
    '{"type": "session.update", "speakers": [{"id": "ghost"}]}': "unknown_speaker",
    '{"type": "webrtc.candidate", "candidate": "no candidate"}': "invalid_sdp",
    '{"type": "webrtc.offer", "sdp": "v=0"}': "invalid_sdp",
}


BAD_SDPS = (
    *("hello", "v=0\r\nm=video 9 X\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"),
    "v=0\r\na=group:BUNDLE 5\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=recvonly\r\n",
)


async def test_bad_input_gets_its_error_and_the_session_next_to_it_plays_on(character_root, speech):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as good,
        client(stand, "?character=pair") as bad,
    ):
        await good.say(speech(1500))
        for number, (text, code) in enumerate(BAD_TEXTS.items(), start=1):
            await bad.socket.send(text)
            await bad.till(lambda number=number: bad.count(Error) == number)
            error = [e for e in bad.events if type(e) is Error][-1]
            assert error.error.code == code
            assert error.error.type == "invalid_request_error"
        await bad.socket.send(b"not the header")
        await bad.until(Error, lambda e: e.error.code == "bad_binary_header")
        await bad.say(speech(200)[:-1])  # an odd byte at the end
        assert (await bad.until(OutputStopped)).audio_end_ms >= 199
        stopped = await good.until(OutputStopped)
        assert stopped.audio_end_ms == 1500
        assert good.count(Error) == 0


async def test_binary_messages_that_never_came_are_told_and_the_rest_is_played(
    character_root, speech
):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=pair") as talk,
    ):
        for seq, speaker in ((7, 0), (8, 1), (11, 0)):
            await talk.socket.send(pack_binary_append(speech(100), speaker, seq))
        gap = await talk.until(Error)
        assert gap.error.code == "sequence_gap"
        assert "2 binary messages are missing: seq is 11" in gap.error.message
        await talk.send("input_audio_buffer.commit", speaker="left")
        assert (await talk.until(OutputStopped)).audio_end_ms == 200


async def test_an_sdp_that_is_none_is_refused_and_a_good_offer_then_works(character_root):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana", media=False) as talk,
    ):
        await talk.send("webrtc.candidate", candidate="")
        await talk.until(Error, lambda e: e.error.code == "no_offer")
        for sdp in BAD_SDPS:
            await talk.send("webrtc.offer", sdp=sdp)
        await talk.till(
            lambda: sum(_code(e) == "invalid_sdp" for e in talk.events) == len(BAD_SDPS)
        )
        await talk.open_media()
        await talk.till(lambda: bool(talk.video.at and talk.audio.at))
        refusals = [_code(event) for event in talk.events if isinstance(event, Error)]
        assert refusals == ["no_offer", *["invalid_sdp"] * len(BAD_SDPS)]


def _code(event) -> str | None:
    return event.error.code if isinstance(event, Error) else None


async def test_a_socket_that_dies_mid_word_and_a_bad_picture_leave_the_neighbour_alone(
    character_root, speech
):
    config = ServerConfig(limits=Limits(resume_ms=100), model=Model(characters=(character_root,)))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as good,
        client(stand, "?character=pair") as bad,
    ):
        await good.say(speech(2000))
        await bad.say(speech(3000), commit=False)
        await bad.until(OutputStarted)
        bad.socket.transport.abort()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stand.port}") as http:
            box = '[{"x": 0.3, "y": 0.3, "width": 0.4, "height": 0.4}]'
            refused = await http.post(
                "/v1/characters",
                data={"id": "new", "boxes": box},
                files={"picture": b"no picture"},
            )
            assert refused.json()["error"]["code"] == "invalid_picture"
        assert (await good.until(OutputStopped)).audio_end_ms == 2000
        assert good.count(Error) == 0
        await until(lambda: len(stand.hub.sessions) == 1)


async def test_an_mp3_pushed_as_pcm_is_refused_to_its_end_and_never_heard(character_root, speech):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as good,
        client(stand, "?character=pair") as bad,
    ):
        await good.say(speech(1000))
        song = mp3(speech(2000))
        pieces = [song[start : start + 3000] for start in range(0, len(song), 3000)]
        for piece in pieces:
            await bad.socket.send(pack_binary_append(piece))
        await bad.till(lambda: bad.count(Error) == len(pieces))
        assert {_code(e) for e in bad.events if isinstance(e, Error)} == {"container_not_pcm"}
        await bad.send("input_audio_buffer.clear")
        await bad.say(speech(300))  # decoded now
        assert (await bad.until(OutputStopped)).audio_end_ms == 300
        assert bad.count(OutputStarted) == 1
        assert (await good.until(OutputStopped)).audio_end_ms == 1000


def mp3(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=16_000, layout="mono")
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        for part in [*av.AudioResampler("s16p", "mono", 16_000).resample(frame), None]:
            container.mux(stream.encode(part))
    return file.getvalue()
