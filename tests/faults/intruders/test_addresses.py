"""Addresses that a server listens on."""

import asyncio
import socket

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from server.api.app import create_app
from server.cli.serve import bind, uvicorn_config
from server.config import Listen, Model, ServerConfig
from tests.support.serving.flash import FlashBackend


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
async def test_a_server_answers_under_the_address_that_it_listens_on(character_root, host):
    """A server answers at each loopback address that it may listen on, IPv6 included."""
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6 on loopback")
    config = ServerConfig(Listen(host=host, port=0), model=Model(characters=(character_root,)))
    settings = uvicorn_config(config, create_app(config, FlashBackend(character_root)), "error")
    settings.loop = "asyncio"
    listener = bind(config)
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server._serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        shown = f"[{host}]" if ":" in host else host
        base = f"{shown}:{listener.getsockname()[1]}"
        own = {"Origin": f"http://{base}"}
        async with httpx.AsyncClient() as http:
            listed = await http.get(f"http://{base}/v1/characters", headers=own)
            assert listed.status_code == 200
        async with connect(
            f"ws://{base}/v1/realtime", subprotocols=["avatar.v1"], origin=own["Origin"]
        ) as it:
            assert "session.created" in str(await it.recv())
    finally:
        server.should_exit = True
        await serving
        listener.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
