"""The ASGI app: the realtime socket, sessions, characters, speech, health, metrics, the page."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware

from server.api.body_limit import BodyLimit
from server.api.characters import characters_router
from server.api.errors import answer_errors
from server.api.guard import client_address, require_key
from server.api.realtime_socket import RealtimeSocket
from server.api.refusal_log import RefusalLog
from server.api.security_headers import SecurityHeaders, inline_script_hashes
from server.api.served_files import page_files, sample_files
from server.api.tts import find_synthesizer, speech_router
from server.config import SHIPPED, Listen, ServerConfig
from server.generation.interface import Backend
from server.protocol.errors import ErrorCode, ProtocolError, no_session
from server.session.registry import ServerState, SessionRegistry

logger = logging.getLogger(__name__)

BEARER = HTTPBearer(auto_error=False, description="The server's API key, if it has one.")


def create_app(
    config: ServerConfig, backend: Backend, *, is_served_while_loading: bool = False
) -> FastAPI:
    """The server as an app. Its lifespan loads the model, and ends every session when it ends.

    `app.state.failure` is why the model could not be loaded. If requests are served while it loads,
    /readyz says so, and only the failure tells of its end.
    """
    synthesizer = find_synthesizer()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = app.state.registry = SessionRegistry(
            config, backend, has_tts=synthesizer is not None
        )
        loading = asyncio.create_task(_load(app), name="load the model")
        try:
            if not is_served_while_loading:
                await loading
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            if await registry.aclose():
                await asyncio.get_running_loop().shutdown_default_executor()

    # The framework's own pages of the API load scripts from elsewhere: docs/protocol.md has it all.
    app = FastAPI(
        title="Avatar Server", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.failure = None
    app.state.refusals = RefusalLog()
    answer_errors(app)
    _add_middleware(app, config)
    app.include_router(_open_router())
    for router in (_sessions_router(), characters_router(), speech_router(synthesizer)):
        app.include_router(router, dependencies=[Depends(_authorized)])
    app.mount("/samples", sample_files(config.listen.samples_dir), name="samples")
    app.mount("/", page_files(config.listen.web_dir), name="page")
    return app


async def _load(app: FastAPI) -> None:
    try:
        await app.state.registry.load()
    except Exception as reason:
        app.state.failure = reason  # `avatar serve` reads it: uvicorn only logs it
        raise


def _add_middleware(app: FastAPI, config: ServerConfig) -> None:
    """From the inside out: the last one added sees a request first and an answer last."""
    listen = config.listen
    app.add_middleware(BodyLimit, limits=config.limits)
    app.add_middleware(
        SecurityHeaders,
        frame_ancestors=listen.browser_origins,
        script_hashes=_script_hashes(listen),
    )
    if listen.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=listen.browser_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )


def _script_hashes(listen: Listen) -> list[str] | None:
    """Of the inline scripts of our own page; None for an operator's page."""
    is_ours = listen.web_dir == SHIPPED / "web"
    return inline_script_hashes(listen.web_dir) if is_ours else None


def _open_router() -> APIRouter:
    """Routes without a key: health for load balancers, and the socket, which checks by itself."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await RealtimeSocket(socket, socket.app.state.registry).serve()

    @router.get("/v1/realtime", include_in_schema=False)
    async def no_websocket() -> None:
        """A proxy without lines for WebSockets makes a plain request of a handshake."""
        raise ProtocolError(
            ErrorCode.UPGRADE_REQUIRED,
            "This is the address of a WebSocket, but a plain request arrived. Connect with a "
            "WebSocket client. If it was one, a proxy between left out the headers Upgrade and "
            "Connection: let it pass them on.",
        )

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process answers: 200."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        """Whether a new session would start now: 200, else 503 with `loading`, `full`, `draining`
        (the server is about to end) or `model_failed` (it ends, to be started anew).
        """
        registry: SessionRegistry = request.app.state.registry
        status = _status(registry)
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    return router


def _status(registry: SessionRegistry) -> str:
    full = registry.admission.active >= registry.config.limits.max_sessions
    return "full" if full and registry.state is ServerState.READY else registry.state.value


def _sessions_router() -> APIRouter:
    router = APIRouter()

    @router.post("/v1/realtime/sessions")
    async def new_secret(request: Request) -> dict[str, object]:
        """A secret with which a browser opens one WebSocket, so that the API key stays with the
        caller. It is good for one handshake and for nothing else.

        Answers `{"client_secret": {"value": .., "expires_at": ..}}`, in seconds since 1970.
        """
        secret = request.app.state.registry.access.new_secret(client_address(request.scope))
        return {"client_secret": {"value": secret.value, "expires_at": secret.expires_at}}

    @router.post("/v1/realtime")
    async def would_open(request: Request, session: str | None = None) -> dict[str, str]:
        """Why a WebSocket to the same path was refused, which browsers do not tell their pages.

        Answers 200 if this request is let in, with the status of `/readyz`; else the error.
        `session` is the id of a session to resume.
        """
        registry: SessionRegistry = request.app.state.registry
        if session is not None and session not in registry.sessions:
            raise no_session()
        return {"status": _status(registry)}

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, object]:
        """The HTTP routes as OpenAPI."""
        described: dict[str, object] = request.app.openapi()
        return described

    @router.get("/v1/sessions")
    async def sessions(request: Request) -> dict[str, object]:
        """The live sessions, and how many clients wait."""
        registry: SessionRegistry = request.app.state.registry
        listed = [
            {
                "id": each.id,
                "character": each.settings.character.id,
                "preset": each.settings.preset,
                "state": each.media.state.value,
                "socket": "open" if each.has_socket else "lost",
            }
            for each in registry.sessions.values()
        ]
        return {"sessions": listed, "queued": registry.admission.queued}

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Counters for Prometheus."""
        registry: SessionRegistry = request.app.state.registry
        return Response(registry.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


def _authorized(request: Request, shown: Annotated[object, Depends(BEARER)]) -> None:
    """Check the key; `shown` only tells OpenAPI about it, it."""
    require_key(request.scope)
