"""A voice model's own events, sent on unchanged to a real server."""

import base64

import numpy as np
import pytest
from avatar_client.events import Error, OutputStarted, OutputStopped, SessionUpdated

from server.config import ServerConfig
from tests.support.serving.backends import make_characters
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Client, client, serving

RATE = 24_000
NAMED = {"type": "audio/pcm", "rate": RATE}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("forwarding"))


async def forward(talk: Client, ms: int, item: str = "item_1") -> None:
    """A voice model's utterance, in deltas of 100 ms, at 24 kHz."""
    delta = base64.b64encode(np.full(RATE // 10, 9_000, "<i2").tobytes()).decode()
    for _ in range(ms // 100):
        await talk.send(
            "response.output_audio.delta",
            delta=delta,
            item_id=item,
            response_id="r",
            output_index=0,
        )
    await talk.send("response.output_audio.done", item_id=item, response_id="r")


@pytest.mark.fault("rates")
@pytest.mark.parametrize("has_session_event", [True, False])
async def test_a_voice_models_events_play_at_their_own_speed(root, has_session_event):
    """OpenAI's own events, sent on unchanged, play at their own speed: 600 ms stay 600 ms."""
    async with serving(ServerConfig(), FlashBackend(root)) as stand, client(stand) as talk:
        if has_session_event:
            session = {"audio": {"output": {"format": NAMED, "voice": "marin"}}, "type": "realtime"}
            await talk.send("session.created", session=session)
        await forward(talk, 600)
        stopped = await talk.until(OutputStopped)
    assert (stopped.item_id, stopped.audio_end_ms) == ("item_1", 600)


@pytest.mark.fault("rates")
async def test_what_the_client_says_stands_above_what_its_model_says(root):
    """A rate that the client sets itself holds for forwarded speech too."""
    async with serving(ServerConfig(), FlashBackend(root)) as stand, client(stand) as talk:
        await talk.send("session.update", audio={"input": {"format": {"rate": 48_000}}})
        await talk.until(SessionUpdated)
        await talk.send("session.updated", session={"audio": {"output": {"format": NAMED}}})
        await forward(talk, 600)
        stopped = await talk.until(OutputStopped)
    assert stopped.audio_end_ms == 300


@pytest.mark.fault("rates")
async def test_speech_that_is_not_pcm_is_refused_and_never_heard(root):
    """Forwarded speech in another format than PCM is refused by name until the model names PCM."""
    async with serving(ServerConfig(), FlashBackend(root)) as stand, client(stand) as talk:
        await talk.send("session.updated", session={"output_audio_format": "g711_ulaw"})
        refused = await talk.until(Error)
        assert "g711_ulaw" in refused.error.message
        await forward(talk, 100, "noise")
        await talk.send("session.updated", session={"output_audio_format": "pcm16"})
        await forward(talk, 200, "speech")
        stopped = await talk.until(OutputStopped)
    assert (stopped.item_id, stopped.audio_end_ms) == ("speech", 200)
    assert [e.item_id for e in talk.events if isinstance(e, OutputStarted)] == ["speech"]
