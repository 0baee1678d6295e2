"""All sessions of one server, and what they share: backend, model thread, slots, metrics."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial

from runtime.character.store import default_character
from runtime.errors import BadInput
from server.addresses import client_network
from server.auth import Authenticator
from server.config import ServerConfig
from server.generation.interface import Backend, CallTimes, StreamRequest, try_out
from server.generation.model_thread import Work
from server.generation.model_watch import CallLimits, ModelWatch
from server.metrics import Metrics
from server.protocol.errors import ErrorCode, ProtocolError
from server.session.admission import Admission
from server.session.session import Session
from server.session.settings import Settings, find

logger = logging.getLogger(__name__)

SHUTTING_DOWN = "the server is shutting down"
LAST_SOUND_S = 0.2
"""Speech that has left is on its way for a moment longer, so its peer stays."""
MODEL_END_S = 3.0
"""How long the model thread may still work on a call when the server ends."""


class ServerState(StrEnum):
    """LOADING --> READY --signal--> DRAINING; a model that fails leads to MODEL_FAILED."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    MODEL_FAILED = "model_failed"


class SessionRegistry:
    """Opens, finds and ends sessions. Made on the event loop."""

    def __init__(self, config: ServerConfig, backend: Backend, *, has_tts: bool = False) -> None:
        self._has_tts = has_tts
        self.config = config
        self.backend = backend
        self.metrics = Metrics()
        self.access = Authenticator(config.listen, config.limits)
        self.admission = Admission(
            config.limits.max_sessions,
            config.limits.max_queued,
            config.limits.sessions_per_address,
        )
        self.metrics.queued.set_function(lambda: self.admission.queued)
        self.sessions: dict[str, Session] = {}
        self.state = ServerState.LOADING
        self._trial: StreamRequest | None = None
        self._watch = ModelWatch(self._try_model, self._on_model_failed)
        self._thread = self._watch.thread
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.metrics.model_queue.set_function(lambda: self._thread.waiting)

    async def load(self) -> None:
        """Load the model and warm every shape; sessions are admitted afterwards.

        Raises AvatarError or ProtocolError if sessions could not run: weights or the default
        character are missing.
        """
        settings = await self._default_settings()
        self._trial = StreamRequest(settings.character, settings.preset, settings.seed)
        times: CallTimes = await self._thread.run(self.backend.load, work=Work.LOAD)
        limits = CallLimits.of(self.config.limits.model_timeout_ms, times)
        self._watching = asyncio.create_task(self._watch.run(limits), name="model watch")
        self.state = ServerState.READY

    def _try_model(self) -> None:
        assert self._trial is not None, "load() comes first"
        try_out(self.backend, self._trial)

    async def settings_for(self, character: str | None) -> Settings:
        """The settings a session begins with; raises ProtocolError for an unknown character."""
        characters = await self.backend.characters.current()
        name = character or self.config.model.default_character
        if name is None:
            return Settings(default_character(characters), self.config.model.default_preset)
        if name not in characters and self.backend.characters.fault_of(name) is not None:
            raise ProtocolError(
                ErrorCode.UNKNOWN_CHARACTER,
                f"The folder of the character {name!r} is broken, and the server's log says why. "
                "Mend it, or use another character.",
                "character",
            )
        return Settings(find(characters, name), self.config.model.default_preset)

    async def _default_settings(self) -> Settings:
        """Those of sessions that name no character; the error says which key is at fault."""
        try:
            return await self.settings_for(None)
        except ProtocolError as reason:
            name = self.config.model.default_character or ""
            fault = self.backend.characters.fault_of(name)
            raise BadInput(f"model.default_character: {fault or reason}") from None

    async def open(
        self, settings: Settings, address: str, on_position: Callable[[int], None]
    ) -> Session:
        """A new session for the client at `address`, as soon as there is a slot.

        `on_position` gets places in the queue.
        """
        if self.state is not ServerState.READY:
            raise unavailable(self.state)
        client = client_network(address)
        await self.admission.enter(client, on_position)
        try:
            session = Session(
                settings,
                self.backend,
                self._thread,
                self.config,
                self.metrics,
                partial(self._on_closed, client),
                has_tts=self._has_tts,
            )
        except BaseException:
            self.admission.leave(client)
            raise
        self.sessions[session.id] = session
        self.metrics.opened.inc()
        self.metrics.sessions.set(len(self.sessions))
        logger.info("session %s opened with %s", session.id, settings.character.id)
        return session

    def _on_closed(self, client: str, session: Session) -> None:
        del self.sessions[session.id]
        self.metrics.sessions.set(len(self.sessions))
        self.admission.leave(client)
        logger.info("session %s closed", session.id)

    # ------------------------------------------------------------ end

    async def drain(self, limit_ms: int) -> None:
        """Admit nobody, and end each session when its speech has been played, at the latest after
        `limit_ms`. If the model has failed, wait until every session was told.
        """
        if self.state is not ServerState.MODEL_FAILED:
            self._refuse_from_now_on(ServerState.DRAINING)
            await self._end_all(partial(_finish, limit_ms=limit_ms))
        elif self._ending is not None:
            await self._ending

    def _on_model_failed(self, reason: str) -> None:
        if self.state is ServerState.DRAINING:
            return
        self._refuse_from_now_on(ServerState.MODEL_FAILED)
        self._ending = asyncio.create_task(self._end_all(_fail), name="end of all sessions")

    def _refuse_from_now_on(self, state: ServerState) -> None:
        self.state = state
        self.admission.close(unavailable(state))

    async def _end_all(self, end: Callable[[Session], Awaitable[None]]) -> None:
        await asyncio.gather(*(end(each) for each in list(self.sessions.values())))

    async def aclose(self) -> bool:
        """End every session, then the model thread; False if that hangs and is left behind."""
        await self.drain(0)
        if self._watching is not None:
            self._watching.cancel()
        await self._watch.aclose()
        try:
            async with asyncio.timeout(MODEL_END_S):
                await self._thread.run(self.backend.close, work=Work.LOAD)
        except TimeoutError:
            logger.critical("the model does not end, and is left behind")
            self._thread.log_stack()
            return False
        await self._thread.aclose()
        return True


def unavailable(state: ServerState) -> ProtocolError:
    """Why a server in that state opens no session."""
    reasons = {
        ServerState.LOADING: "The model is still loading",
        ServerState.DRAINING: "The server is shutting down",
        ServerState.MODEL_FAILED: "The model has failed, and the server starts anew",
    }
    return ProtocolError(
        ErrorCode.UNAVAILABLE,
        f"{reasons[state]}, so no session can begin. Try again when /readyz answers 200.",
        retryable=True,
    )


async def _finish(session: Session, limit_ms: int) -> None:
    """Close the session when it has nothing more to say, at the latest after the limit."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_ms / 1000):
            if await session.media.until_silent():
                await asyncio.sleep(LAST_SOUND_S)
    await session.close(SHUTTING_DOWN)


async def _fail(session: Session) -> None:
    await session.fail(
        ProtocolError(
            ErrorCode.GENERATOR_FAILED,
            "The model of this server has failed, so every session ends and the server starts "
            "anew. Open a new session when /readyz answers 200.",
            retryable=True,
        )
    )
