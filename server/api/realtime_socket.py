"""One WebSocket: its handshake, the session it opens or resumes, and its two directions."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from runtime.errors import AvatarError
from server.api.errors import error_response
from server.api.guard import client_address
from server.auth import may_resume, offered_subprotocols
from server.protocol.binary import parse_binary
from server.protocol.client_events import parse_text
from server.protocol.errors import ErrorCode, ProtocolError, no_session
from server.protocol.handshake import SUBPROTOCOL, CloseCode
from server.protocol.inbox import Inbox, Message
from server.protocol.outbox import Outbox
from server.protocol.server_events import (
    ServerEvent,
    SessionCreated,
    SessionQueued,
    error_event,
)
from server.session.registry import ServerState, SessionRegistry
from server.session.session import Session, internal_error
from server.session.settings import as_protocol_error

logger = logging.getLogger(__name__)

MESSAGE_LIMIT = "avatar.message_limit"
"""Key of a function in the extensions of a socket's scope; see `server.cli.connections`."""
MAX_WAITING_BYTES = 65_536
"""Messages kept for a client that waits for its session, and for a session that is busy."""
MAX_NEWS = 8
"""Events kept for a client that waits and does not read."""
CLOSE_TIMEOUT_S = 5.0
SLOW_READER_S = 20.0


class RealtimeSocket:
    """Serves one socket from its handshake to its end."""

    def __init__(self, socket: WebSocket, registry: SessionRegistry) -> None:
        self._socket = socket
        self._registry = registry
        self._headers: Mapping[str, str] = socket.headers
        self._inbox = Inbox(MAX_WAITING_BYTES)
        self._news = Outbox(MAX_NEWS)
        self._is_admitted = False
        self._has_refused = False
        self._gone = asyncio.Event()
        self._taken = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def client_host(self) -> str:
        """The client's IP address, or ""."""
        return self._socket.client.host if self._socket.client is not None else ""

    async def serve(self) -> None:
        """Open or resume a session and serve it until the socket or the session ends."""
        resumed = self._registry.sessions.get(self._socket.query_params.get("session", ""))
        if not await self._passes_handshake(resumed):
            return
        await self._socket.accept(subprotocol=SUBPROTOCOL)
        reader = asyncio.create_task(self._read())
        try:
            session = resumed or await self._open()
            if session is not None:
                await self._serve_session(session)
        except ProtocolError as reason:
            await self._refuse(reason)
        except AvatarError as error:
            await self._refuse(as_protocol_error(error))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _passes_handshake(self, resumed: Session | None) -> bool:
        """Refuse an unauthorized handshake with an HTTP status and a reason."""
        try:
            self._check_handshake(resumed)
        except ProtocolError as reason:
            self._registry.metrics.refused.labels(reason=str(reason.code)).inc()
            address = client_address(self._socket.scope)
            self._socket.app.state.refusals.warn(self._headers, address, reason)
            await self._socket.send_denial_response(error_response(reason))
            return False
        return True

    def _check_handshake(self, resumed: Session | None) -> None:
        """Raise ProtocolError unless it may go on. A client secret is spent last."""
        access = self._registry.access
        access.check_origin(self._headers)
        if SUBPROTOCOL not in offered_subprotocols(self._headers):
            raise _no_subprotocol()
        if resumed is not None and may_resume(self._headers, resumed.secret):
            return
        access.check_handshake(self._headers, client_address(self._socket.scope))
        if "session" in self._socket.query_params:
            raise no_session()

    async def _refuse(self, reason: ProtocolError) -> None:
        self._registry.metrics.refused.labels(reason=str(reason.code)).inc()
        await self._send(error_event(reason, "fatal"))
        later = (ErrorCode.SERVER_FULL, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED)
        is_later = reason.code in later
        await self._close(CloseCode.TRY_LATER if is_later else CloseCode.POLICY, str(reason.code))

    async def _open(self) -> Session | None:
        """A new session, or None if the client left the queue."""
        settings = await self._registry.settings_for(self._socket.query_params.get("character"))
        opening = asyncio.create_task(
            self._registry.open(settings, self.client_host, self._on_position)
        )
        reporting = asyncio.create_task(self._report_news())
        leaving = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({opening, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                return opening.result()
            return None
        finally:
            for task in (opening, reporting, leaving):
                task.cancel()
            await asyncio.gather(opening, reporting, leaving, return_exceptions=True)
            if self._gone.is_set() and not opening.cancelled() and opening.exception() is None:
                await opening.result().close("the client left before its session began")

    def _limit_messages(self, size: int) -> None:
        """Messages may have `size` bytes from now on; before the first call, none are read.

        A server without the extension reads all messages up to its own limit.
        """
        limit = self._socket.scope.get("extensions", {}).get(MESSAGE_LIMIT)
        if limit is not None:
            limit(size)

    def _on_position(self, position: int) -> None:
        """The client has to wait; from now on little of what it sends is read."""
        self._limit_messages(MAX_WAITING_BYTES)
        self._news.put(SessionQueued(position=position))

    async def _report_news(self) -> None:
        while True:
            await self._send(await self._news.get())

    async def _serve_session(self, session: Session) -> None:
        """Both directions until the socket or the session ends."""
        await session.attach(self)
        self._is_admitted = True
        self._limit_messages(self._registry.config.limits.max_message_bytes)
        failure = await self._run_directions(session)
        if failure is not None:
            logger.error("session %s: an event failed", session.id, exc_info=failure)
            await session.fail(internal_error(failure))
        if self._taken.is_set():
            await self._close(CloseCode.TAKEN_OVER, "another socket took the session over")
        elif session.closed.is_set():
            for event in session.outbox.drain():
                await self._send(event)
            is_end = self._registry.state in (ServerState.DRAINING, ServerState.MODEL_FAILED)
            code = CloseCode.GOING_AWAY if is_end else CloseCode.NORMAL
            await self._close(code, "session closed")
        elif not self._gone.is_set():
            await self._close(CloseCode.POLICY, "events were not read in time")

    async def _run_directions(self, session: Session) -> Exception | None:
        """Until one direction, the session or our claim on it ends; the failure of an event."""
        directions = (self._write(session), self._act(session))
        ends = (session.closed.wait(), self._taken.wait())
        tasks = [asyncio.create_task(each) for each in (*directions, *ends)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            written, acted, *_ = await asyncio.gather(*tasks, return_exceptions=True)
            session.detach(self)
            self._released.set()
        if isinstance(acted, Exception):
            return acted
        if isinstance(written, Exception) and not isinstance(written, TimeoutError):
            return written
        return None

    async def give_way(self) -> None:
        """Let another socket take the session over; returns when this one no longer uses it."""
        self._taken.set()
        await self._released.wait()

    async def _act(self, session: Session) -> None:
        while (message := await self._inbox.get()) is not None:
            try:
                event = parse_text(message) if isinstance(message, str) else parse_binary(message)
            except ProtocolError as reason:
                session.refuse(reason)
            else:
                await session.handle(event)
            await asyncio.sleep(0)  # others' work comes between any two messages

    async def _write(self, session: Session) -> None:
        """Send the session's events; what could not be sent stays for the next socket."""
        while not self._gone.is_set():
            event = await session.outbox.get()
            is_sent = False
            try:
                async with asyncio.timeout(SLOW_READER_S):
                    is_sent = await self._send(event)
            finally:
                if not is_sent and type(event) is not SessionCreated:  # each socket gets its own
                    session.outbox.put_first(event)
        await asyncio.Future()  # `_act` still handles the messages that came before the end

    async def _read(self) -> None:
        """Queue messages for `_act`, and notice when the socket is gone."""
        try:
            while True:
                received = await self._socket.receive()
                if received["type"] == "websocket.disconnect":
                    break
                text = received.get("text")
                message: Message = received["bytes"] if text is None else text
                if self._is_admitted:
                    await self._inbox.put(message)
                elif self._has_refused or not self._inbox.offer(message):
                    self._refuse_message()
        finally:
            self._gone.set()
            self._inbox.end()  # after the last message, so that each is acted on

    def _refuse_message(self) -> None:
        """Drop a message of a client that waits. It is told once."""
        if not self._has_refused:
            self._has_refused = True
            self._news.put(error_event(_too_early()))

    async def _send(self, event: ServerEvent) -> bool:
        """Whether the socket took the event."""
        if self._gone.is_set():
            return False
        try:
            await self._socket.send_text(event.to_json())
        except (WebSocketDisconnect, RuntimeError):
            self._gone.set()  # uvicorn and starlette raise these once the socket is closed
            return False
        return True

    async def _close(self, code: CloseCode, reason: str) -> None:
        if self._gone.is_set() or self._socket.application_state is WebSocketState.DISCONNECTED:
            return
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(int(code), reason)


def _too_early() -> ProtocolError:
    return ProtocolError(
        ErrorCode.RATE_LIMITED,
        f"The client sent more than {MAX_WAITING_BYTES} bytes while it waits for a session. What "
        "it sent since then, and all that follows before session.created, is dropped. Wait for "
        "session.created, then send it again.",
        retryable=True,
    )


def _no_subprotocol() -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_FIELD,
        f"The client did not offer the subprotocol {SUBPROTOCOL}. Connect with "
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}.",
        "subprotocol",
    )
