"""Limits of one TCP connection, below the app: uvicorn's protocols with deadlines and budgets.

uvicorn waits for ever for the end of a request, answers pings without a limit, and parses whatever
one read brought, however many frames that are. Everything here that depends on its private parts is
checked by tests/server/cli/test_connections.py.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

from server.budget import TokenBucket
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.server_events import error_event

logger = logging.getLogger(__name__)

HEADER_S = 10.0
"""Time for the head of a request."""
BODY_S = 30.0
SLOWEST_BODY = 10_000  # bytes a second: a body may take BODY_S, and as long as this rate needs
MAX_UNFINISHED = 200
"""Connections whose request is not complete. Of more, the oldest is closed."""
FEED_BYTES = 16_384
"""What is parsed at once: at most a few thousand frames."""
MAX_FRAGMENTS = 4_096
CONTROL_RATE, CONTROL_BURST = 20.0, 200.0
"""Pings and pongs of a client, a second and at once."""
TLS_HANDSHAKE = b"\x16\x03"
"""How a TLS client begins: RFC 8446, section 5.1."""
TOO_LARGE = 1009
POLICY = 1008
NOT_UTF8 = 1007


class _Unfinished:
    """The connections of one process whose request is not complete, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[BoundedHttp, None] = {}
        self._warned_at = float("-inf")

    def add(self, one: "BoundedHttp", now: float) -> None:
        self._waiting[one] = None
        if len(self._waiting) > MAX_UNFINISHED:
            next(iter(self._waiting)).drop()
            if now - self._warned_at > 60:
                self._warned_at = now
                logger.warning(
                    "more than %d connections have sent no whole request (the latest is from %s): "
                    "the oldest are closed",
                    MAX_UNFINISHED,
                    one.client,
                )

    def remove(self, one: "BoundedHttp") -> None:
        self._waiting.pop(one, None)


class _TlsWarning:
    """Says once a minute that somebody speaks TLS to this port."""

    def __init__(self) -> None:
        self._at = float("-inf")

    def warn(self, client: object) -> None:
        if time.monotonic() - self._at > 60:
            self._at = time.monotonic()
            logger.warning(
                "%s speaks TLS to this port, which has none. Use http:// and ws://, or put a proxy "
                "with TLS before the server (docs/deployment.md).",
                client,
            )


class BoundedHttp(H11Protocol):
    """HTTP whose requests must arrive in time."""

    _unfinished = _Unfinished()
    _tls = _TlsWarning()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._expect()  # the next request of a connection that is kept
        if self._received == 0 and data.startswith(TLS_HANDSHAKE):
            self._tls.warn(self.client)
        self._received += len(data)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._finish()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._finish()
        super().handle_websocket_upgrade(event)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self._finish()
        self.transport.abort()

    def _expect(self) -> None:
        self._began_at, self._received = self.loop.time(), 0
        self._unfinished.add(self, self._began_at)
        self._deadline = self.loop.call_later(HEADER_S, self._check)

    def _check(self) -> None:
        """End a request that takes too long; one whose body arrives at a fair pace may go on."""
        allowed_s = HEADER_S
        if self.conn.their_state is h11.SEND_BODY:
            allowed_s = BODY_S + self._received / SLOWEST_BODY
        left_s = self._began_at + allowed_s - self.loop.time()
        if left_s <= 0:
            self.drop()
        else:
            self._deadline = self.loop.call_later(left_s, self._check)

    def _finish(self) -> None:
        self._unfinished.remove(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """WebSocket whose frames are parsed in small portions, with few control frames and fragments.

    A client that sends more is told by a close frame with the reason.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unread = bytearray()
        self._is_feeding = False
        self._control = TokenBucket(CONTROL_RATE, CONTROL_BURST)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._feed()

    async def receive(self) -> Any:
        message = await super().receive()
        self._feed()
        return message

    def _feed(self) -> None:
        """Parse what arrived, until the app has a message to handle."""
        if self._is_feeding:
            return
        self._is_feeding = True
        try:
            while self._unread and not self.read_paused and not self.transport.is_closing():
                portion = bytes(self._unread[:FEED_BYTES])
                del self._unread[:FEED_BYTES]
                super().data_received(portion)
        finally:
            self._is_feeding = False
        if self.transport.is_closing():
            self._unread.clear()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(POLICY, f"a message has more than {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self.frames = []
            self._fail(NOT_UTF8, "a text message is not UTF-8")
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        if self._takes_control_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._takes_control_frame():
            super().handle_pong(event)

    def _takes_control_frame(self) -> bool:
        if self._control.take(self.loop.time()):
            return True
        self._fail(POLICY, f"more than {CONTROL_RATE:.0f} pings a second")
        return False

    def _fail(self, code: int, reason: str) -> None:
        """Close with a reason; the app sees a disconnect."""
        if self.transport.is_closing():
            return
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        closing = self.conn.close_sent
        if closing is not None and closing.code == TOO_LARGE and self.handshake_complete:
            self.transport.write(_too_large(self.config.ws_max_size))
        super().handle_parser_exception()


def _is_utf8(parts: Sequence[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True


def _too_large(limit: int) -> bytes:
    """A frame with the error event of a message that is too large."""
    event = error_event(
        ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"A message has more than {limit} bytes, which is limits.max_message_bytes. Send "
            "speech in smaller pieces.",
        ),
        "fatal",
    )
    return _serialized(Frame(Opcode.TEXT, event.to_json().encode()))


def _serialized(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=False, extensions=[]) for frame in frames)
