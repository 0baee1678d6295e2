"""HTTP bodies: read only from who may send one, and no further than a limit."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.values import EMOTIONS
from server.api.errors import error_response
from server.config import Limits
from server.protocol.errors import ErrorCode, ProtocolError

PICTURES = "/v1/characters"
"""Takes a picture for each emotion; everything else takes text."""
DISCONNECT: Message = {"type": "http.disconnect"}


class BodyLimit:
    """Refuses a body before the app reads it, or where it has grown too large; the server throws
    the rest away as it comes, so that the client hears why.
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
        read, is_refused, has_begun = 0, False, False  # the last: the app's own answer

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
        """Before anything is read: who sends it, and how long it says that it is."""
        headers = Headers(scope=scope)
        length = int(headers.get("content-length", "0"))
        if length or "transfer-encoding" in headers:
            scope["app"].state.hub.access.check(headers)
        if length > self._limit(scope):
            raise self._too_large(scope, str(length))

    def _limit(self, scope: Scope) -> int:
        pictures = len(EMOTIONS) if scope["path"] == PICTURES else 0
        return self._limits.max_body_bytes + pictures * self._limits.max_picture_bytes

    def _too_large(self, scope: Scope, found: str) -> ProtocolError:
        name = "max_picture_bytes" if scope["path"] == PICTURES else "max_body_bytes"
        return ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"found a body of {found} bytes, expected at most {self._limit(scope)}; send less, or "
            f"raise limits.{name}",
        )
