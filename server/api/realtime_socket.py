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

MAX_UNHANDLED_MESSAGES = 64
CLOSE_TIMEOUT_S = 5.0
SLOW_READER_S = 20.0

Message = str | bytes


class RealtimeSocket:
    """Serves one socket from its handshake to its end."""

    def __init__(self, socket: WebSocket, registry: SessionRegistry) -> None:
        self._socket = socket
        self._registry = registry
        self._headers: Mapping[str, str] = socket.headers
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(MAX_UNHANDLED_MESSAGES)
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
        is_later = reason.code in (ErrorCode.SERVER_FULL, ErrorCode.UNAVAILABLE)
        await self._close(CloseCode.TRY_LATER if is_later else CloseCode.POLICY, str(reason.code))

    async def _open(self) -> Session | None:
        """A new session, or None if the client left the queue."""
        settings = await self._registry.settings_for(self._socket.query_params.get("character"))
        positions: asyncio.Queue[int] = asyncio.Queue()
        opening = asyncio.create_task(self._registry.open(settings, positions.put_nowait))
        reporting = asyncio.create_task(self._report_positions(positions))
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

    async def _report_positions(self, positions: "asyncio.Queue[int]") -> None:
        while True:
            await self._send(SessionQueued(position=await positions.get()))

    async def _serve_session(self, session: Session) -> None:
        """Both directions until the socket or the session ends."""
        await session.attach(self)
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
        while (message := await self._messages.get()) is not None:
            try:
                event = parse_text(message) if isinstance(message, str) else parse_binary(message)
            except ProtocolError as reason:
                session.refuse(reason)
                continue
            await session.handle(event)

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
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                content = message.get("text")
                await self._messages.put(message["bytes"] if content is None else content)
        finally:
            self._gone.set()
        await self._messages.put(None)  # after the last message, so that each is acted on

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


def _internal_error(error: Exception) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INTERNAL,
        f"Internal error ({type(error).__name__}) while handling an event. The session has ended; "
        "open a new one and report the server log.",
    )


def _no_subprotocol() -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_FIELD,
        f"The client did not offer the subprotocol {SUBPROTOCOL}. Connect with "
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}.",
        "subprotocol",
    )
