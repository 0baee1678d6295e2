"""One session's WebSocket: events out, events in, and answers to requests.

A lost socket is replaced within the session's `resume_ms`: what is to be sent waits meanwhile, and
readers go on with what the server kept for them.
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
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from avatar_client.events import (
    SECRET_SUBPROTOCOL_PREFIX,
    SUBPROTOCOL,
    Error,
    EventError,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    pack_binary_append,
    parse_server_event,
)

EVENTS_KEPT = 1000  # for each reader; the oldest is dropped and counted
ANSWER_TIMEOUT_S = 15.0
RESUME_EVERY_S = 0.5
PING_S = 5.0  # a silent loss is noticed after three of these, before the server gives up
CLOSED_FOR_GOOD = (1000, 4001)  # by the server: the session ended, or another socket took it up

logger = logging.getLogger(__name__)

Event = TypeVar("Event", bound=ServerEvent)


class AvatarClientError(Exception):
    """The server refused something, or the connection to it failed.

    `code` is the server's (`unknown_character`, `unauthorized`, ...) or "connection".
    """

    def __init__(self, message: str, code: str = "connection") -> None:
        super().__init__(message)
        self.code = code


class EventReader:
    """One reader's view of the session's events, from its creation on: `async for event in it`."""

    def __init__(self, forget: Callable[["EventReader"], None]) -> None:
        self.dropped = 0
        self._events: deque[ServerEvent] = deque(maxlen=EVENTS_KEPT)
        self._more = asyncio.Event()
        self._ended = False
        self._forget = forget

    def put(self, event: ServerEvent) -> None:
        self.dropped += len(self._events) == EVENTS_KEPT
        self._events.append(event)
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()

    def close(self) -> None:
        """Stop to collect events for this reader."""
        self._forget(self)
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
    """The open socket. Make one with `SessionSocket.open`, end it with `aclose`."""

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

        Raises AvatarClientError when nobody listens there or the server refuses.
        """
        address = realtime_url(url, character)
        try:
            socket = await _connect(address, api_key)
        except InvalidStatus as refusal:
            raise _refused(
                address, refusal.response.status_code, refusal.response.body or b""
            ) from None
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise AvatarClientError(
                f"No avatar server answers at {address} ({error}). Start one: avatar serve"
            ) from error
        return cls(socket, url, api_key)

    def events(self) -> EventReader:
        """A reader of every event from now on. Close it when you stop to read."""
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
        """Send PCM16 for a speaker. It is numbered when its turn comes: whoever is cancelled before
        leaves no gap.
        """
        async with self._sending:
            await self._write_next(pack_binary_append(pcm, speaker_index, self._next_seq))
            self._next_seq += 1

    async def request(
        self, answer: type[Event], kind: str, timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any
    ) -> Event:
        """Send an event and wait for its `answer`; an error about this event is raised."""
        with self.events() as reader:
            event_id = await self.send(kind, **fields)
            return await expect(reader, answer, timeout_s, about=event_id)

    async def aclose(self) -> None:
        """End the session; where its socket is lost just now, it ends by itself."""
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
        """Send it, once there is a socket. What a socket took before it broke may be lost."""
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
                    self._has_socket.clear()  # `_receive` will notice as well

    async def _receive(self) -> None:
        try:
            while True:
                await self._receive_from(self._socket)
                self._has_socket.clear()
                if not await self._take_up_again():
                    return
                self._has_socket.set()
        finally:
            self._is_over = True
            self._has_socket.set()  # who waits to send hears that it is over
            for reader in self._readers:
                reader.end()

    async def _receive_from(self, socket: ClientConnection) -> None:
        """Hand events on until the socket is closed or lost."""
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

    async def _take_up_again(self) -> bool:
        """Whether another socket serves the session now."""
        session = self._session
        if self._is_over or session is None or self._socket.close_code in CLOSED_FOR_GOOD:
            return False
        if session.resume_ms == 0:
            logger.warning("%s lost its socket; it ends, as resume_ms is 0", session.session_id)
            return False
        loop = asyncio.get_running_loop()
        until_s = loop.time() + session.resume_ms / 1000
        address = realtime_url(self._url, session=session.session_id)
        logger.warning(
            "%s lost its socket; trying for %d ms to take it up again",
            *(session.session_id, session.resume_ms),
        )
        while True:
            try:
                async with asyncio.timeout_at(until_s):
                    self._socket = await _connect(address, self._api_key, session.resume_secret)
                return True
            except InvalidStatus as refusal:
                if refusal.response.status_code < 500:  # the session is gone
                    return False
            except (OSError, TimeoutError, InvalidHandshake):
                pass  # not yet
            if loop.time() + RESUME_EVERY_S > until_s:
                return False
            await asyncio.sleep(RESUME_EVERY_S)


async def _connect(
    address: str, api_key: str | None, resume_secret: str | None = None
) -> ClientConnection:
    offered = [SUBPROTOCOL]
    if resume_secret is not None:
        offered.append(SECRET_SUBPROTOCOL_PREFIX + resume_secret)
    return await connect(
        address,
        subprotocols=offered,  # type: ignore[arg-type]
        additional_headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        compression=None,  # PCM does not shrink
        max_size=2**22,
        ping_interval=PING_S,
        ping_timeout=2 * PING_S,
    )


async def expect(
    reader: EventReader, answer: type[Event], timeout_s: float, about: str | None = None
) -> Event:
    """The next `answer` that `reader` gets.

    Raises AvatarClientError for a fatal error, for one about the event `about`, when the session
    ends and after `timeout_s`.
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
    raise AvatarClientError(f"The socket closed before {answer.type} came. Look at the server log.")


def error_from(event: Error) -> AvatarClientError:
    """The exception that tells of an `error` event."""
    return AvatarClientError(event.error.message, event.error.code)


def realtime_url(url: str, character: str | None = None, session: str | None = None) -> str:
    """`http://host:8080` as `ws://host:8080/v1/realtime?character=...`."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise AvatarClientError(
            f"{url!r} is no address of an avatar server. Write it like http://127.0.0.1:8080"
        )
    path = (
        parts.path if parts.path.endswith("/realtime") else f"{parts.path.rstrip('/')}/v1/realtime"
    )
    wishes = {"character": character, "session": session}
    query = dict(parse_qsl(parts.query)) | {name: value for name, value in wishes.items() if value}
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


def _refused(address: str, status: int, body: bytes | bytearray) -> AvatarClientError:
    """The server's own words where it sent an error body, else what the status means."""
    try:
        error = json.loads(body)["error"]
        return AvatarClientError(error["message"], error["code"])
    except (ValueError, KeyError, TypeError):
        pass
    if status in (401, 403):
        message = (
            f"{address} wants an API key (HTTP {status}). Give it: --api-key or AVATAR_API_KEY"
        )
        return AvatarClientError(message, "unauthorized")
    return AvatarClientError(f"{address} refused the session with HTTP {status}.", "refused")
