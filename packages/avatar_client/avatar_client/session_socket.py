"""One session's WebSocket: events out, events in, and answers to requests.

If the socket is lost, a new one resumes the session within `resume_ms`. Until then calls that send
wait; afterwards readers receive the events that the server kept.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from avatar_client.connection.address import realtime_url
from avatar_client.connection.opening import FAILURES, explained, open_socket
from avatar_client.errors import AvatarClientError
from avatar_client.events import (
    Error,
    EventError,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    pack_binary_append,
    parse_server_event,
)

EVENTS_KEPT = 1000  # for each reader; beyond it the oldest is dropped, counted and logged
ANSWER_TIMEOUT_S = 15.0
RESUME_EVERY_S = 0.5
CLOSED_FOR_GOOD = (1000, 4001)  # by the server: the session ended, or another socket resumed it

logger = logging.getLogger(__name__)

Event = TypeVar("Event", bound=ServerEvent)


class EventReader:
    """Reads the session's events from its creation on: `async for event in reader`."""

    def __init__(self, forget: Callable[["EventReader"], None]) -> None:
        self.dropped = 0
        self._events: deque[ServerEvent] = deque(maxlen=EVENTS_KEPT)
        self._more = asyncio.Event()
        self._ended = False
        self._forget: Callable[[EventReader], None] | None = forget

    def put(self, event: ServerEvent) -> None:
        if len(self._events) == EVENTS_KEPT:
            if self.dropped == 0:
                logger.warning("a reader is %d events behind; it loses the oldest", EVENTS_KEPT)
            self.dropped += 1
        self._events.append(event)
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()

    def close(self) -> None:
        """Stop collecting events for this reader; a second call does nothing."""
        if self._forget is not None:
            forget, self._forget = self._forget, None
            forget(self)
        self.end()

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._ended:
                return
            self._more.clear()
            await self._more.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class SessionSocket:
    """The socket of one session. Open it with `SessionSocket.open`, end it with `aclose`."""

    def __init__(self, socket: ClientConnection, url: str, api_key: str | None) -> None:
        self._socket = socket
        self._url = url
        self._api_key = api_key
        self._session: SessionCreated | None = None
        self._has_socket = asyncio.Event()
        self._has_socket.set()
        self._is_over = False
        self._readers: list[EventReader] = []
        self._ids = itertools.count(1)
        self._next_seq = 0
        self._sending = asyncio.Lock()  # one after another, in the order of the calls
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def open(cls, url: str, character: str | None, api_key: str | None) -> "SessionSocket":
        """Connect to `url` (http, https, ws or wss; only host and port are needed).

        Raises AvatarClientError if nothing listens there or the server refuses.
        """
        address = realtime_url(url, character)
        try:
            socket = await open_socket(address, api_key)
        except FAILURES as failure:
            raise await explained(address, failure) from None
        return cls(socket, url, api_key)

    def events(self) -> EventReader:
        """A reader of every event from now on. Close it when you stop reading."""
        reader = EventReader(self._readers.remove)
        if self._receiving.done():
            reader.end()
        self._readers.append(reader)
        return reader

    async def send(self, kind: str, **fields: Any) -> str:
        """Send one event; fields that are None are left out. Returns its `event_id`."""
        event_id = f"client_{next(self._ids)}"
        present = {name: value for name, value in fields.items() if value is not None}
        await self._write(json.dumps({"type": kind, "event_id": event_id} | present))
        return event_id

    async def send_text(self, message: str) -> None:
        await self._write(message)

    async def send_speech(self, pcm: bytes, speaker_index: int) -> None:
        """Send PCM16 of one speaker. The message gets its number when it is sent, so a cancelled
        call leaves no gap.
        """
        async with self._sending:
            await self._write_next(pack_binary_append(pcm, speaker_index, self._next_seq))
            self._next_seq += 1

    async def request(
        self, answer: type[Event], kind: str, timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any
    ) -> Event:
        """Send an event and return its `answer`. Raises AvatarClientError for an error about it."""
        with self.events() as reader:
            event_id = await self.send(kind, **fields)
            return await expect(reader, answer, timeout_s, about=event_id)

    async def aclose(self) -> None:
        """End the session. While its socket is lost, the server ends it after `resume_ms`."""
        self._is_over = True
        if self._has_socket.is_set():
            with contextlib.suppress(AvatarClientError):
                await self.send("session.close")
        else:
            self._receiving.cancel()
        await self._socket.close()
        await asyncio.gather(self._receiving, return_exceptions=True)

    async def _write(self, message: str | bytes) -> None:
        async with self._sending:
            await self._write_next(message)

    async def _write_next(self, message: str | bytes) -> None:
        """Send once there is a socket. A message that a socket took before it broke may be lost."""
        while True:
            await self._has_socket.wait()
            socket = self._socket
            try:
                await socket.send(message)
                return
            except ConnectionClosed as error:
                if self._is_over or self._receiving.done():
                    raise AvatarClientError(
                        f"The session has ended, its socket is closed ({error}). Connect again."
                    ) from error
                if self._socket is socket:
                    self._has_socket.clear()  # `_receive` notices it too

    async def _receive(self) -> None:
        try:
            while True:
                await self._receive_from(self._socket)
                self._has_socket.clear()
                if not await self._resume():
                    return
                self._has_socket.set()
        finally:
            self._is_over = True
            self._has_socket.set()  # wakes the calls that wait to send; they raise
            for reader in self._readers:
                reader.end()

    async def _receive_from(self, socket: ClientConnection) -> None:
        """Give events to all readers until the socket is closed or lost."""
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                if isinstance(message, bytes):
                    continue  # the server sends no binary messages yet
                try:
                    event = parse_server_event(message)
                except EventError:
                    continue  # a newer server's event
                if isinstance(event, SessionCreated):
                    self._session = event
                self._is_over |= isinstance(event, SessionClosed)
                for reader in self._readers:
                    reader.put(event)

    async def _resume(self) -> bool:
        """Open another socket for the session. Returns whether there is one now."""
        session = self._session
        if self._is_over or session is None or self._socket.close_code in CLOSED_FOR_GOOD:
            return False
        if session.resume_ms == 0:
            logger.warning("%s lost its socket and ends: resume_ms is 0", session.session_id)
            return False
        loop = asyncio.get_running_loop()
        until_s = loop.time() + session.resume_ms / 1000
        address = realtime_url(self._url, session=session.session_id)
        logger.warning(
            "%s lost its socket; trying to resume it for %d ms",
            session.session_id,
            session.resume_ms,
        )
        while True:
            try:
                async with asyncio.timeout_at(until_s):
                    self._socket = await open_socket(address, self._api_key, session.resume_secret)
                return True
            except InvalidStatus as refusal:
                if refusal.response.status_code < 500:  # the session is gone
                    return False
            except FAILURES:
                pass  # the server is not back yet
            if loop.time() + RESUME_EVERY_S > until_s:
                return False
            await asyncio.sleep(RESUME_EVERY_S)


async def expect(
    reader: EventReader, answer: type[Event], timeout_s: float, about: str | None = None
) -> Event:
    """Wait for the next `answer` that `reader` gets.

    Raises AvatarClientError after `timeout_s`, if the session ends, for a fatal error, and for an
    error about the event with the id `about`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            async for event in reader:
                if isinstance(event, Error):
                    is_about = about is not None and event.error.event_id == about
                    if is_about or event.error.type == "fatal":
                        raise error_from(event)
                elif type(event) is answer:
                    return event
                elif isinstance(event, SessionClosed):
                    raise AvatarClientError(f"The server ended the session: {event.reason}.")
    except TimeoutError:
        raise AvatarClientError(
            f"The server sent no {answer.type} within {timeout_s:.0f} s. Look at its log."
        ) from None
    raise AvatarClientError(
        f"The socket closed before {answer.type} arrived. Look at the server's log."
    )


def error_from(event: Error) -> AvatarClientError:
    """The exception for an `error` event."""
    return AvatarClientError(event.error.message, event.error.code)
