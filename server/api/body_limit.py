"""HTTP bodies: read only if the sender has the key, and no further than a limit."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.values import EMOTIONS
from server.api.errors import error_response
from server.api.guard import require_key
from server.config import Limits
from server.protocol.errors import ErrorCode, ProtocolError

PICTURES = "/v1/characters"
"""Takes one picture for each emotion; every other route takes text."""
DISCONNECT: Message = {"type": "http.disconnect"}


class BodyLimit:
    """Refuses a body that is too large, or whose sender has no key, before the app reads it.

    The server goes on to receive a refused body and discards it, so that the client can read the
    refusal.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ProtocolError as reason:
            await error_response(reason)(scope, receive, send)
            return
        read, is_refused, has_begun = 0, False, False  # has_begun: the app's own answer

        async def receive_some() -> Message:
            nonlocal read, is_refused
            if read > self._limit(scope):
                return DISCONNECT
            message = await receive()
            read += len(message.get("body", b""))
            if read <= self._limit(scope):
                return message
            if not has_begun:
                is_refused = True
                reason = self._too_large(scope, f"more than {read - 1}")
                await error_response(reason)(scope, receive, send)
            return DISCONNECT

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_begun
            has_begun |= message["type"] == "http.response.start"
            if not is_refused:
                await send(message)

        await self._app(scope, receive_some, send_unless_refused)

    def _check(self, scope: Scope) -> None:
        """Before anything is read: the sender's key, and the announced length."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            raise _two_lengths()
        length = int(headers.get("content-length", "0"))
        if length or "transfer-encoding" in headers:
            require_key(scope)
        if length > self._limit(scope):
            raise self._too_large(scope, str(length))

    def _limit(self, scope: Scope) -> int:
        pictures = len(EMOTIONS) if scope["path"] == PICTURES else 0
        return self._limits.max_body_bytes + pictures * self._limits.max_picture_bytes

    def _too_large(self, scope: Scope, size: str) -> ProtocolError:
        name = "max_picture_bytes" if scope["path"] == PICTURES else "max_body_bytes"
        return ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The body has {size} bytes, but at most {self._limit(scope)} are allowed. Send less, "
            f"or raise limits.{name}.",
        )


def _two_lengths() -> ProtocolError:
    """Two servers in a row could disagree where such a request ends: RFC 9112, section 6.1."""
    return ProtocolError(
        ErrorCode.INVALID_FIELD,
        "The request has Content-Length and Transfer-Encoding. Send one of them.",
        "content-length",
    )
