"""HTTP requests to the app without a network: the real app, its lifespan and its middleware."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from server.api.app import create_app
from server.config import Limits, Listen, Model, ServerConfig
from tests.support.serving.flash import FlashBackend


@contextlib.asynccontextmanager
async def requests(
    listen: Listen, root: Path, limits: Limits | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with the characters in `root`."""
    config = ServerConfig(listen, limits or Limits(), model=Model(characters=(root,)))
    app = create_app(config, FlashBackend(root))
    # As behind uvicorn: an unexpected error is an answer.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield http
