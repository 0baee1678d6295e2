"""The server on the caller's event loop and a free loopback port, for tests and benchmarks."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from server.cli.lifetime import DrainingServer, uvicorn_config
from server.config import ServerConfig


@asynccontextmanager
async def running(config: ServerConfig, application: FastAPI) -> AsyncIterator[int]:
    """The port of the app, once its model is loaded; raises what its start raises."""
    settings = uvicorn_config(config, application, "error")
    settings.loop = "asyncio"
    server = DrainingServer(settings, application, drain_ms=0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # `serve` would also take over the process's signals.
        task = asyncio.create_task(server._serve([listener]))
        try:
            while not server.started:  # uvicorn has no event for it
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await task
