"""A server with the built-in model in this process, whose calls and loop can be watched."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.request import urlopen

import uvicorn

from server.api.app import create_app
from server.cli.serve import uvicorn_config
from server.config import ServerConfig
from server.generation.runtime_backend import RuntimeBackend


@asynccontextmanager
async def serving(config: ServerConfig) -> AsyncIterator[str]:
    """The address of a warm server that runs on this event loop."""
    settings = uvicorn_config(config, create_app(config, RuntimeBackend(config.model)), "error")
    settings.loop = "asyncio"
    server = uvicorn.Server(settings)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    task = asyncio.create_task(server._serve([listener]))
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await asyncio.to_thread(_wait_until_ready, url)
        yield url
    finally:
        server.should_exit = True
        await task
        listener.close()


def _wait_until_ready(url: str) -> None:
    while True:
        time.sleep(0.2)
        with suppress(OSError), urlopen(f"{url}/readyz") as answer:
            if answer.status == 200:
                return
