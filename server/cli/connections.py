"""Limits of one TCP connection, below the app: uvicorn's protocols with deadlines and budgets.

uvicorn waits for ever for the end of a request and for clients that do not read, answers pings
without a limit, and parses whatever one read brought, however many frames that are. Everything here
that depends on its private parts is checked by tests/server/cli/test_connections.py.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame

from server.api.realtime_socket import MESSAGE_LIMIT
from server.budget import TokenBucket
from server.cli.too_large import too_large_frame
from server.cli.unfinished_requests import WARNING_S, UnfinishedRequests
from server.cli.unread_output import UnreadOutput
from server.protocol.handshake import CloseCode

logger = logging.getLogger(__name__)

HEADER_S = 10.0
"""Time for the head of a request."""
BODY_S = 30.0
SLOWEST_BODY = 10_000  # bytes a second: a body may take BODY_S, and as long as this rate needs
MAX_UNFINISHED = 200
"""Connections whose request is not complete. Of more, the oldest is closed."""
MAX_UNFINISHED_PER_ADDRESS = 100
LEFT_S = 2.0
"""How long messages of a client that has left are acted on; one that waits has none to act on."""
END_S = 15.0
"""How long a socket may stay after the app has left it."""
LINGER_S = 2.0
"""How long a client may go on sending after a message that is too large, to read why it failed."""
MOST_DISCARDED = 34_000_000
"""Bytes that are read of it meanwhile."""
FEED_BYTES, MOST_FEED_BYTES = 1_024, 16_384
"""What is parsed at once: at most 170 frames, or more inside a large one."""
MAX_FRAGMENTS = 16_384
CONTROL_RATE, CONTROL_BURST = 20.0, 200.0
"""Pings and pongs of a client, a second and at once."""
TLS_HANDSHAKE = b"\x16\x03"
"""How a TLS client begins: RFC 8446, section 5.1."""
FRAME_RATE, FRAME_BURST = 500.0, 100.0
BYTE_RATE, BYTE_BURST = 4_000_000.0, 17_000_000.0
"""Frames and bytes of a client, a second and at once; more are read later."""
SLOWED_S = 0.005
"""How long a client that is slowed waits at least: a timer for each frame would cost more."""
LINUX_TCP_ESTABLISHED = 1


class BoundedHttp(H11Protocol):
    """HTTP whose requests must arrive in time."""

    _unfinished = UnfinishedRequests(MAX_UNFINISHED, MAX_UNFINISHED_PER_ADDRESS)
    """Of the whole process: files are counted by process, too."""
    _tls_warnings = TokenBucket(1 / WARNING_S, 1)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unread = UnreadOutput(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()
        self._unread.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.stop()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._expect()  # the next request of a connection that is kept
        if self._received == 0 and data.startswith(TLS_HANDSHAKE):
            self._warn_of_tls()
        self._received += len(data)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._finish()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._finish()
        self._unread.stop()
        super().handle_websocket_upgrade(event)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self._finish()
        self.transport.abort()

    def _warn_of_tls(self) -> None:
        """Say that somebody speaks TLS to this port, once a minute."""
        if self._tls_warnings.take(time.monotonic()):
            logger.warning(
                "%s speaks TLS to this port, which has none. Use http:// and ws://, or put a proxy "
                "with TLS before the server (docs/deployment.md).",
                self.client,
            )

    def _expect(self) -> None:
        self._began_at, self._received = self.loop.time(), 0
        self._unfinished.add(self, self.client[0] if self.client else "", self._began_at)
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
    """WebSocket whose frames are parsed in small portions and at a bounded rate.

    What comes faster is read later, so that TCP slows the client. A client whose messages are too
    large, or that sends too many pings or fragments, is told by a close frame with the reason.
    Nothing is read until the app says how large a message may be (`MESSAGE_LIMIT` in the scope).
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unread_data = bytearray()
        self._is_feeding = False
        self._has_failed = False
        self._discarded = 0
        self._limit: int | None = None
        self._control = TokenBucket(CONTROL_RATE, CONTROL_BURST)
        self._frames = TokenBucket(FRAME_RATE, FRAME_BURST)
        self._bytes = TokenBucket(BYTE_RATE, BYTE_BURST)
        self._fragments = 0
        self._portion = FEED_BYTES
        self._received_at = 0.0
        self._left_at: float | None = None
        self._later: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._unread = UnreadOutput(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.stop()
        self._unread_data.clear()
        for timer in (self._later, self._end):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.stop()
        self._feed()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._end = self.loop.call_later(END_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """A client that is slowed cannot be heard in time, so what it sent counts as a pong."""
        if self.writable.is_set() and (self._unread_data or self._received_at > self.ping_sent_at):
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # nobody reads, so the close frame would wait for ever

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[MESSAGE_LIMIT] = self.limit_messages

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal, which is no error of the app
        if self.close_sent:
            self._feed()  # the client's answer to the close frame

    # ------------------------------------------------------------ reading

    def limit_messages(self, size: int) -> None:
        """Read on; messages may have `size` bytes from now on."""
        self._limit = self.conn.max_message_size = size
        self._feed()

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
        elif self._has_failed:
            self._discarded += len(data)
            if self._discarded > MOST_DISCARDED:
                self.transport.pause_reading()
        else:
            self._received_at = self.loop.time()
            self._unread_data += data
            self._feed()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.queue.empty():
            self.read_paused = False
            self._feed()
        return message

    def _feed(self) -> None:
        """Parse what arrived, until the app has a message to handle or the budget is used up."""
        if self._is_feeding or self.disconnected or self.transport.is_closing():
            return
        self._is_feeding = True
        try:
            while self._unread_data and self._may_read():
                portion = bytes(self._unread_data[: self._portion])
                del self._unread_data[: self._portion]
                self._portion = min(2 * self._portion, MOST_FEED_BYTES)
                self._bytes.spend(self.loop.time(), len(portion))
                super().data_received(portion)
        finally:
            self._is_feeding = False
        if self.transport.is_closing() or self._has_failed:
            self._unread_data.clear()
        if not self.transport.is_closing():
            self._read_on()

    def _may_read(self) -> bool:
        return self._is_ready() and self._slow_down_s() == 0.0

    def _is_ready(self) -> bool:
        """Whether the app and the client's end of the connection take more, the budget aside."""
        is_wanted = self._limit is not None or self.close_sent
        is_ended = self._has_failed or self.transport.is_closing()
        return is_wanted and not (is_ended or self.read_paused) and self.writable.is_set()

    def _slow_down_s(self) -> float:
        now = self.loop.time()
        return max(self._frames.wait_s(now), self._bytes.wait_s(now))

    def _read_on(self) -> None:
        """Read from the connection if everything before is parsed; else try again in time."""
        if self._has_failed or (not self._unread_data and self._may_read()):
            self.transport.resume_reading()
            return
        self.transport.pause_reading()
        if self._is_ready():
            if self._later is not None:
                self._later.cancel()
            wait_s = max(self._slow_down_s(), SLOWED_S)  # meanwhile the budget may have recovered
            self._later = self.loop.call_later(wait_s, self._feed_unless_left)

    def _feed_unless_left(self) -> None:
        """Read on, but not for long what somebody sent who has left."""
        now = self.loop.time()
        if not self._is_left():
            self._left_at = None
        elif self._left_at is None:
            self._left_at = now
        is_waiting = self._limit is None or self._limit < self.config.ws_max_size
        if self._left_at is not None and (is_waiting or now - self._left_at > LEFT_S):
            self.transport.abort()
        else:
            self._feed()

    def _is_left(self) -> bool:
        """Whether the client has closed the connection behind what is not read yet."""
        if sys.platform != "linux":
            return False
        tcp: socket.socket = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            state = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            return bool(state != LINUX_TCP_ESTABLISHED)
        return True

    # ------------------------------------------------------------ frames

    def handle_text(self, event: Frame) -> None:
        self._begin_message()
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._begin_message()
        super().handle_bytes(event)

    def _begin_message(self) -> None:
        self._count_frame()
        self._fragments = 0

    def _count_frame(self) -> None:
        self._frames.spend(self.loop.time())
        self._portion = FEED_BYTES

    def handle_cont(self, event: Frame) -> None:
        self._count_frame()
        self._fragments += 1
        if self._fragments >= MAX_FRAGMENTS:
            self._fail(CloseCode.POLICY, f"a message has more than {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """As uvicorn does, without a traceback for text that is not UTF-8."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            data = b"".join(self.frames)
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_TEXT, "a text message is not UTF-8")
                return
            self.frames = []
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
            self.read_paused = True
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        if self._takes_control_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._takes_control_frame():
            super().handle_pong(event)

    def _takes_control_frame(self) -> bool:
        self._count_frame()
        if self._control.take(self.loop.time()):
            return True
        self._fail(CloseCode.POLICY, f"more than {CONTROL_RATE:.0f} pings or pongs a second")
        return False

    # ------------------------------------------------------------ failing

    def _fail(self, code: int, reason: str) -> None:
        """Close with a reason; the app sees a disconnect."""
        if self.transport.is_closing() or self.close_sent:
            return
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Tell the client, and let it read that: what it still sends is discarded for a while."""
        if self._has_failed:
            return
        self._has_failed = True
        self._unread_data.clear()
        if (closing := self.conn.close_sent) is None:  # the handshake failed
            self.transport.close()
            return
        if isinstance(self.conn.parser_exc, PayloadTooBig):
            self.transport.write(too_large_frame(self._limit or 0, self.config.ws_max_size))
        message: Any = {"type": "websocket.disconnect", "code": closing.code}
        self.queue.put_nowait(message | {"reason": closing.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)
