"""A model that hangs, fails or computes nonsense, behind a real server."""

import asyncio
from pathlib import Path

import httpx
import pytest
from avatar_client.events import Error, OutputStarted, OutputStopped, SessionClosed, SessionQueued

from server.config import Limits, ServerConfig
from server.generation import model_watch
from tests.support.faults.broken_model import FAULTS, BreakingModel
from tests.support.faults.flash_process import flash_server
from tests.support.serving.stand import Stand, client, serving, until

pytestmark = pytest.mark.fault("broken-model")


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Hangs are noticed in a fraction of a second."""
    monkeypatch.setattr(model_watch, "CHECK_S", 0.05)


async def ready(stand: Stand) -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{stand.port}/readyz")
    return answer.status_code, answer.json()["status"]


def config(**limits: int) -> ServerConfig:
    return ServerConfig(limits=Limits(model_timeout_ms=1000, **limits))


async def test_a_hung_model_is_told_to_everybody(character_root, speech, caplog):
    """If the model hangs, every session ends with a reason and /readyz tells it."""
    model = BreakingModel(character_root)
    async with (
        serving(config(max_sessions=1), model) as stand,
        client(stand, "?character=ana") as talk,
        client(stand, "?character=ana", media=False) as queued,
    ):
        await queued.until(SessionQueued)
        await talk.say(speech(5000))
        await talk.until(OutputStarted)
        model.breaks.set()
        fatal = await talk.until(Error)
        assert (fatal.error.type, fatal.error.code) == ("fatal", "generator_failed")
        await talk.until(SessionClosed)
        await talk.socket.wait_closed()
        assert talk.socket.close_code == 1001
        assert (await queued.until(Error)).error.code == "unavailable"
        assert await ready(stand) == (503, "model_failed")
        assert "goes_on.wait()" in caplog.text  # the stack of the thread that hangs
        async with client(stand, "?character=ana", media=False) as late:
            assert (await late.until(Error)).error.code == "unavailable"
        model.goes_on.set()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_model_that_fails_for_all_is_told_to_everybody(character_root, fault):
    """A model that fails for every stream makes /readyz false instead of failing for ever."""
    model = BreakingModel(character_root, fault)
    async with serving(config(), model) as stand:
        assert await ready(stand) == (200, "ready")
        model.breaks.set()
        for _ in range(model_watch.FAILURES_IN_A_ROW):
            if (await ready(stand))[0] == 503:
                break
            async with client(stand, "?character=ana", media=False) as talk:
                await talk.open_media()
                assert (await talk.until(Error)).error.code == "generator_failed"
                await talk.until(SessionClosed)
        await until(lambda: stand.hub.state.value == "model_failed")
        assert await ready(stand) == (503, "model_failed")


async def test_a_stream_that_always_fails_does_not_end_the_server(character_root, speech):
    """One character whose streams always fail takes nothing from the others."""
    model = BreakingModel(character_root, "raises", only="pair")
    model.breaks.set()
    async with serving(config(), model) as stand:
        for _ in range(2 * model_watch.FAILURES_IN_A_ROW):
            async with client(stand, "?character=pair", media=False) as talk:
                await talk.open_media()
                await talk.until(SessionClosed)
        async with client(stand, "?character=ana") as talk:
            await talk.say(speech(300))
            await talk.until(OutputStopped)
        assert await ready(stand) == (200, "ready")


async def test_the_process_ends_if_its_model_hangs(character_root: Path, tmp_path, speech):
    """A server whose model hangs ends with status 70, so that a supervisor starts it anew."""
    toml = tmp_path / "server.toml"
    toml.write_text("[limits]\nmodel_timeout_ms = 1000\n")
    with flash_server(character_root, toml=toml) as server:
        async with client(Stand(server.port, None), "?character=ana") as talk:
            await talk.say(speech(3000))
            await talk.until(OutputStarted)
            server.process.send_signal(10)
            await talk.until(SessionClosed)
        status = await asyncio.to_thread(server.ended, 10)
    assert status == 70
    assert "goes_on.wait()" in server.output
