"""All sessions of one server, and what they share: backend, model thread, slots, metrics."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from runtime.character.store import default_character
from server.addresses import client_network
from server.auth import Authenticator
from server.config import ServerConfig
from server.generation.interface import Backend
from server.generation.model_thread import ModelThread
from server.metrics import Metrics
from server.protocol.errors import ErrorCode, ProtocolError
from server.session.admission import Admission
from server.session.session import Session
from server.session.settings import Settings, find

logger = logging.getLogger(__name__)


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
        self.is_ready = False
        self._thread = ModelThread()
        self.metrics.model_queue.set_function(lambda: self._thread.waiting)

    async def load(self) -> None:
        """Load the model and warm every shape; sessions are admitted afterwards.

        Raises AvatarError or ProtocolError if sessions could not run: weights or the default
        character are missing.
        """
        await self.settings_for(None)
        await self._thread.run(self.backend.load)
        self.is_ready = True

    async def settings_for(self, character: str | None) -> Settings:
        """The settings a session begins with; raises ProtocolError for an unknown character."""
        characters = await self.backend.characters.current()
        name = character or self.config.model.default_character
        if name is None:
            return Settings(default_character(characters), self.config.model.default_preset)
        return Settings(find(characters, name), self.config.model.default_preset)

    async def open(
        self, settings: Settings, address: str, on_position: Callable[[int], None]
    ) -> Session:
        """A new session for the client at `address`, as soon as there is a slot.

        `on_position` gets places in the queue.
        """
        if not self.is_ready:
            raise ProtocolError(
                ErrorCode.SERVER_FULL,
                "The model is still loading. Try again when /readyz answers 200.",
                retryable=True,
            )
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

    async def aclose(self) -> None:
        """End every session, then the model thread."""
        await asyncio.gather(
            *(each.close("the server is shutting down") for each in list(self.sessions.values()))
        )
        await self._thread.run(self.backend.close)
        await self._thread.aclose()
