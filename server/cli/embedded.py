"""The server on the caller's event loop and a free loopback port, for tests and benchmarks."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from server.cli.lifetime import DrainingServer, uvicorn_config
from server.config import ServerConfig


@asynccontextmanager
async def running(
    config: ServerConfig, application: object, log_level: str = "error"
) -> AsyncIterator[int]:
    """The port of the app, once its model is loaded; raises what its start raises."""
    settings = uvicorn_config(config, application, log_level)
    settings.loop = "asyncio"
    server = uvicorn.Server(settings)  # for any ASGI app, in tests of the transport
    if isinstance(application, FastAPI):
        server = DrainingServer(settings, application, drain_ms=0)
    is_ipv6 = ":" in config.listen.host
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET) as listener:
        listener.bind(("::1" if is_ipv6 else "127.0.0.1", 0))
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
