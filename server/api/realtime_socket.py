"""One WebSocket: who it is, which session it opens or takes up, and its two directions."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from runtime.errors import AvatarError
from server.api.errors import error_response
from server.auth import may_resume, offered_subprotocols
from server.protocol import SUBPROTOCOL, parse_binary, parse_text
from server.protocol.fields import ErrorCode, ProtocolError
from server.protocol.server_events import ServerEvent, SessionQueued, error_event
from server.session.registry import SessionRegistry
from server.session.session import Session
from server.session.settings import as_protocol_error

logger = logging.getLogger(__name__)

# RFC 6455, 7.4.1, and the range 4000-4999 that it leaves to applications.
CLOSE_NORMAL = 1000
CLOSE_POLICY = 1008
CLOSE_TRY_LATER = 1013
CLOSE_TAKEN = 4001
WAITING_MESSAGES = 64
LAST_WORDS_S = 5.0
SLOW_READER_S = 20.0

Message = str | bytes


class Connection:
    """Serves one socket from its handshake to its end."""

    def __init__(self, socket: WebSocket, hub: SessionRegistry) -> None:
        self._socket = socket
        self._hub = hub
        self._headers: Mapping[str, str] = socket.headers
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(WAITING_MESSAGES)
        self._gone = asyncio.Event()
        self._taken = asyncio.Event()
        self._released = asyncio.Event()

    async def serve(self) -> None:
        resumed = self._hub.sessions.get(self._socket.query_params.get("session", ""))
        if not await self._is_welcome(resumed):
            return
        await self._socket.accept(subprotocol=SUBPROTOCOL)
        reader = asyncio.create_task(self._read())
        try:
            session = resumed or await self._open()
            if session is not None:
                await self._converse(session)
        except ProtocolError as reason:
            await self._turn_away(reason)
        except AvatarError as error:
            await self._turn_away(as_protocol_error(error))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _is_welcome(self, resumed: Session | None) -> bool:
        """Refuse the handshake, with a status and a reason, of who may not come in."""
        try:
            if resumed is not None and may_resume(self._headers, resumed.secret):
                self._hub.access.check_origin(self._headers)
            else:
                self._hub.access.check(self._headers)
                if "session" in self._socket.query_params:
                    raise _no_session()
        except ProtocolError as reason:
            self._hub.metrics.refused.labels(reason=str(reason.code)).inc()
            await self._socket.send_denial_response(error_response(reason))
            return False
        if SUBPROTOCOL not in offered_subprotocols(self._headers):
            await self._socket.send_denial_response(error_response(_no_subprotocol()))
            return False
        return True

    async def _turn_away(self, reason: ProtocolError) -> None:
        self._hub.metrics.refused.labels(reason=str(reason.code)).inc()
        await self._send(error_event(reason, "fatal"))
        full = reason.code is ErrorCode.SERVER_FULL
        await self._close(CLOSE_TRY_LATER if full else CLOSE_POLICY, str(reason.code))

    async def _open(self) -> Session | None:
        """A new session, or None where the client left the queue."""
        settings = await self._hub.settings_for(self._socket.query_params.get("character"))
        positions: asyncio.Queue[int] = asyncio.Queue()
        opening = asyncio.create_task(self._hub.open(settings, positions.put_nowait))
        telling = asyncio.create_task(self._tell(positions))
        leaving = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({opening, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                return opening.result()
            return None
        finally:
            for task in (opening, telling, leaving):
                task.cancel()
            await asyncio.gather(opening, telling, leaving, return_exceptions=True)
            if self._gone.is_set() and not opening.cancelled() and opening.exception() is None:
                await opening.result().close("the client left before its session began")

    async def _tell(self, positions: "asyncio.Queue[int]") -> None:
        while True:
            await self._send(SessionQueued(position=await positions.get()))

    async def _converse(self, session: Session) -> None:
        """Both directions until the socket or the session ends."""
        await session.attach(self)
        directions = (self._write(session), self._act(session))
        ends = (session.closed.wait(), self._taken.wait())
        tasks = [asyncio.create_task(each) for each in (*directions, *ends)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            _, acted, *_ = await asyncio.gather(*tasks, return_exceptions=True)
            session.detach(self)
            self._released.set()
        if isinstance(acted, Exception):
            logger.error("session %s: an event failed", session.id, exc_info=acted)
            await session.fail(_our_fault(acted))
        if self._taken.is_set():
            await self._close(CLOSE_TAKEN, "the session was taken up by another socket")
        elif session.closed.is_set():
            for event in session.outbox.drain():
                await self._send(event)
            await self._close(CLOSE_NORMAL, "session closed")
        elif not self._gone.is_set():
            await self._close(CLOSE_POLICY, "events were not read in time")

    async def give_way(self) -> None:
        """Another socket takes this one's session up: touch it no more."""
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
        while True:
            event = await session.outbox.get()
            async with asyncio.timeout(SLOW_READER_S):
                await self._send(event)

    async def _read(self) -> None:
        """Hand messages on, and notice that the socket is gone."""
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

    async def _send(self, event: ServerEvent) -> None:
        if self._gone.is_set():
            return
        try:
            await self._socket.send_text(event.to_json())
        except (WebSocketDisconnect, RuntimeError):
            self._gone.set()  # what uvicorn and starlette raise once the socket is closed

    async def _close(self, code: int, reason: str) -> None:
        if self._gone.is_set() or self._socket.application_state is WebSocketState.DISCONNECTED:
            return
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._socket.close(code, reason)


def _no_session() -> ProtocolError:
    return ProtocolError(
        ErrorCode.SESSION_NOT_FOUND,
        "found no session of that id and secret, expected one that lives; open a new one",
        "session",
    )


def _our_fault(error: Exception) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INTERNAL,
        f"found {type(error).__name__} while acting on an event, expected none whatever the event "
        "says; open another session, and report the server's log",
    )


def _no_subprotocol() -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_FIELD,
        f"found no subprotocol {SUBPROTOCOL!r}, expected it to be offered; "
        f"connect with Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        "subprotocol",
    )
