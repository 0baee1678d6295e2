"""The ASGI app: the realtime socket, sessions, characters, speech, health, metrics, the page."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from runtime.errors import AvatarError
from server.api.body_limit import BodyLimit
from server.api.characters import characters_router
from server.api.errors import error_response
from server.api.guard import require_key
from server.api.realtime_socket import RealtimeSocket
from server.api.served_files import page_files, sample_files
from server.api.tts import find_synthesizer, speech_router
from server.config import ServerConfig
from server.generation.interface import Backend
from server.protocol.errors import ErrorCode, ProtocolError
from server.session.registry import ServerState, SessionRegistry
from server.session.settings import as_protocol_error
from server.webrtc.peer import set_video_bitrate

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
        set_video_bitrate(config.webrtc.video_bitrate)
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

    app = FastAPI(title="Avatar Server", lifespan=lifespan)
    app.state.failure = None
    app.add_middleware(BodyLimit, limits=config.limits)
    app.add_exception_handler(ProtocolError, _protocol_error)
    app.add_exception_handler(AvatarError, _runtime_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.include_router(_open_router())
    for router in (_sessions_router(), characters_router(), speech_router(synthesizer)):
        app.include_router(router, dependencies=[Depends(_authorized)])
    if config.listen.samples_dir.is_dir():
        app.mount("/samples", sample_files(config.listen.samples_dir), name="samples")
    if config.listen.web_dir.is_dir():
        app.mount("/", page_files(config.listen.web_dir), name="page")
    return app


async def _load(app: FastAPI) -> None:
    try:
        await app.state.registry.load()
    except Exception as reason:
        app.state.failure = reason  # `avatar serve` reads it: uvicorn only logs it
        raise


def _open_router() -> APIRouter:
    """Routes without a key: health for load balancers, and the socket, which checks by itself."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await RealtimeSocket(socket, socket.app.state.registry).serve()

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
        full = registry.admission.active >= registry.config.limits.max_sessions
        is_full = full and registry.state is ServerState.READY
        status = "full" if is_full else registry.state.value
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    return router


def _sessions_router() -> APIRouter:
    router = APIRouter()

    @router.post("/v1/realtime/sessions")
    async def new_secret(request: Request) -> dict[str, object]:
        """A short-lived secret for a browser, so that the API key stays with the caller.

        Answers `{"client_secret": {"value": .., "expires_at": ..}}`, in seconds since 1970.
        """
        secret = request.app.state.registry.access.new_secret()
        return {"client_secret": {"value": secret.value, "expires_at": secret.expires_at}}

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
    """Check the key; `shown` only tells OpenAPI about it, so that /docs can send it."""
    require_key(request.scope)


async def _protocol_error(request: Request, reason: Exception) -> JSONResponse:
    assert isinstance(reason, ProtocolError)
    return error_response(reason)


async def _bad_request(request: Request, reason: Exception) -> JSONResponse:
    """A body or a query that the route does not take: the first fault of it."""
    assert isinstance(reason, RequestValidationError)
    fault = reason.errors()[0]
    place = ".".join(str(each) for each in fault["loc"][1:]) or "the body"
    code = ErrorCode.MISSING_FIELD if fault["type"] == "missing" else ErrorCode.INVALID_FIELD
    message = f"The request cannot be read at {place}: {fault['msg']}. See /docs for its form."
    return error_response(ProtocolError(code, message, place))


async def _runtime_error(request: Request, reason: Exception) -> JSONResponse:
    assert isinstance(reason, AvatarError)
    return error_response(as_protocol_error(reason))
