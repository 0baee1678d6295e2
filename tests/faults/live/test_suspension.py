"""Machines that sleep, processes that are stopped, and clocks that are set."""

import asyncio
import signal
import time

import pytest
from avatar_client.events import Error, OutputStarted, OutputStopped

from server.config import ServerConfig
from tests.support.faults.flash_process import flash_server
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Stand, client, serving

pytestmark = pytest.mark.fault("clocks")


@pytest.mark.parametrize("stopped_s", [1.5, pytest.param(25.0, marks=pytest.mark.nightly)])
async def test_a_stopped_process_goes_on(character_root, tmp_path, speech, stopped_s):
    """A server that is stopped (SIGSTOP, a suspended machine) in mid-word says the rest later."""
    toml = tmp_path / "server.toml"
    toml.write_text("[limits]\nmodel_timeout_ms = 1000\n")
    with flash_server(character_root, toml=toml) as server:
        stand = Stand(server.port, None)
        async with client(stand, "?character=ana") as talk:
            await talk.say(speech(1000))
            await talk.until(OutputStarted)
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(stopped_s)
            seen = len(talk.video.at)
            server.signal(signal.SIGCONT)
            if stopped_s < 10:  # else the server's own pings time out, and a client resumes
                assert (await talk.until(OutputStopped)).audio_end_ms == 1000
                assert talk.count(Error) == 0
            await talk.till(lambda: len(talk.video.at) > seen + 25)
        async with client(stand, "?character=ana") as other:
            await other.say(speech(200))
            await other.until(OutputStopped)
    assert "failed" not in server.output


@pytest.mark.parametrize("step_s", [86_400.0, -86_400.0])
async def test_a_set_clock_changes_nothing(character_root, speech, monkeypatch, step_s):
    """Setting the machine's clock by a day, either way, does not disturb a session."""
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        await talk.say(speech(1000))
        await talk.until(OutputStarted)
        clock = time.time
        monkeypatch.setattr(time, "time", lambda: clock() + step_s)
        assert (await talk.until(OutputStopped)).audio_end_ms == 1000
        seen = len(talk.video.at)
        await talk.till(lambda: len(talk.video.at) > seen + 25)
        assert talk.count(Error) == 0
