"""Signals, and what clients are told of the server's end."""

import asyncio
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from avatar_client.events import (
    Error,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    SessionClosed,
    SessionCreated,
    SessionQueued,
)

from server.config import Limits, ServerConfig
from tests.support.faults.flash_process import ServerProcess, flash_server, started
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Client, Stand, client, serving, until

pytestmark = pytest.mark.fault("shutdown")

SERVE = ("-m", "server.cli.avatar", "serve", "--port", "0")


@pytest.fixture
def drain(tmp_path):
    """A configuration file that lets speech play on for so long: `drain(ms)`."""

    def write(ms: int):
        toml = tmp_path / "server.toml"
        toml.write_text(f"[limits]\ndrain_ms = {ms}\nmax_sessions = 1\n")
        return toml

    return write


async def readiness(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{port}/readyz")).json()["status"]


async def told_the_end(talk: Client) -> None:
    """Wait for the session's last event, and check that the socket closes with it."""
    assert (await talk.until(SessionClosed)).reason == "the server is shutting down"
    await talk.socket.wait_closed()
    assert talk.socket.close_code == 1001


async def status(server: ServerProcess, within_s: float) -> int:
    return await asyncio.to_thread(server.ended, within_s)


async def test_speech_plays_to_its_end_after_sigterm(character_root, speech, drain):
    """After SIGTERM speech plays to its end, new sessions are refused, and the status is 0."""
    with flash_server(character_root, toml=drain(20_000)) as server:
        stand = Stand(server.port, None)
        async with (
            client(stand, "?character=ana") as talk,
            client(stand, "?character=ana", media=False) as queued,
        ):
            await queued.until(SessionQueued)
            await talk.say(speech(1500))
            await talk.until(OutputStarted)
            server.signal(signal.SIGTERM)
            assert (await queued.until(Error)).error.code == "unavailable"
            assert await readiness(server.port) == "draining"
            async with client(stand, "?character=ana", media=False) as late:
                refused = await late.until(Error)
                assert (refused.error.code, refused.error.type) == ("unavailable", "fatal")
                await late.socket.wait_closed()
                assert late.socket.close_code == 1013
            assert (await talk.until(OutputStopped)).audio_end_ms == 1500
            await told_the_end(talk)
        assert await status(server, 10) == 0
    assert "Traceback" not in server.output


async def test_longer_speech_is_cleared_at_the_limit(character_root, speech):
    """Speech that outlasts the drain ends as cleared: each item ends exactly once."""
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=pair") as talk,
    ):
        await talk.say(speech(10_000), 0)
        await talk.say(speech(10_000), 1)
        await talk.say(speech(500), 1)
        await talk.till(lambda: talk.count(OutputStarted) == 2)
        await stand.hub.drain(300)
        await told_the_end(talk)
        assert talk.count(OutputCleared) == 3
        assert talk.count(OutputStopped) == 0


async def test_a_silent_session_ends_at_once(character_root):
    """Sessions in which nobody speaks do not hold the server's end up."""
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        await stand.hub.drain(600_000)
        await told_the_end(talk)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_speech(character_root, speech, drain, number):
    """A second signal ends the server without waiting for speech, and still tells its clients."""
    with flash_server(character_root, toml=drain(600_000)) as server:
        async with client(Stand(server.port, None), "?character=ana") as talk:
            await talk.say(speech(30_000))
            await talk.until(OutputStarted)
            server.signal(number)
            while await readiness(server.port) != "draining":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            server.signal(number)
            await talk.until(OutputCleared)
            await told_the_end(talk)
        assert await status(server, 10) == 0


async def test_a_hung_model_does_not_keep_the_process(character_root, drain):
    """A server whose model hangs ends after SIGTERM all the same."""
    with flash_server(character_root, toml=drain(0)) as server:
        async with client(Stand(server.port, None), "?character=ana") as talk:
            server.signal(signal.SIGUSR1)
            await until(lambda: "The model hangs." in server.output)
            server.signal(signal.SIGTERM)
            await told_the_end(talk)
        await status(server, 12)
    assert "the model does not end" in server.output


def test_a_signal_while_the_model_loads_ends_the_process():
    """SIGTERM ends a server that still loads its model."""
    with started(SERVE, until="Loading") as server:
        time.sleep(0.5)
        server.signal(signal.SIGTERM)
        assert server.ended(5) in (0, -signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_servers_never_share_a_port():
    """Of two servers that start at the same moment on one port, one is refused in one sentence."""
    port = str(free_port())
    command = [sys.executable, *SERVE[:-1], port]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        while not (ended := [each for each in both if each.poll() is not None]):
            time.sleep(0.05)
        (loser,) = ended
        output, errors = loser.communicate()
    finally:
        for each in both:
            each.kill()
            each.communicate()
    assert loser.returncode == 1
    assert output == ""
    assert errors.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in errors


async def test_readiness_is_told_while_the_model_loads():
    """/healthz and /readyz answer while the model loads."""
    port = free_port()
    with started((*SERVE[:-1], str(port)), until="Loading"):
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await readiness(port) == "loading"
                    break
                except httpx.TransportError:  # the process still imports
                    await asyncio.sleep(0.02)


@pytest.mark.nightly
async def test_the_built_in_model_drains_too(speech):
    """SIGTERM in the middle of a word, with the model that is shipped."""
    with started(SERVE) as server:
        async with client(Stand(server.port, None)) as talk:
            await talk.until(SessionCreated)
            await talk.say(speech(2000))
            await talk.until(OutputStarted)
            server.signal(signal.SIGTERM)
            assert (await talk.until(OutputStopped)).audio_end_ms == 2000
            await told_the_end(talk)
        assert await status(server, 15) == 0
    assert "Traceback" not in server.output


def test_limits_keep_the_end_bounded():
    """Speech plays on for 5 s at most, if nothing else is configured."""
    assert Limits().drain_ms == 5_000
