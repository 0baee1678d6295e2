"""Headers that tell browsers what an answer may do: no sniffing, no framing, own scripts only."""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.origins import parsed_host

INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class SecurityHeaders:
    """Adds them to every HTTP answer.

    `script_hashes` are the inline scripts of the page that comes with the server. If they are None
    the page is the operator's own: what it loads is theirs to decide.
    """

    def __init__(
        self, app: ASGIApp, frame_ancestors: Iterable[str], script_hashes: Iterable[str] | None
    ) -> None:
        self._app = app
        self._frames = " ".join(["frame-ancestors 'self'", *frame_ancestors])
        self._may_be_framed_by_others = bool(list(frame_ancestors))
        self._scripts = None if script_hashes is None else " ".join(["'self'", *script_hashes])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), Headers(scope=scope).get("host", ""))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add(self, headers: MutableHeaders, host: str) -> None:
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Content-Security-Policy"] = self._policy(host)
        if not self._may_be_framed_by_others:  # browsers that know CSP prefer its frame-ancestors
            headers["X-Frame-Options"] = "SAMEORIGIN"

    def _policy(self, host: str) -> str:
        if self._scripts is None:
            return self._frames
        # Older Safaris do not count a WebSocket to the same host as 'self'.
        own = f" ws://{host} wss://{host}" if parsed_host(host) else ""
        rules = (
            "default-src 'self'",
            f"script-src {self._scripts}",
            f"connect-src 'self' blob:{own}",
            "img-src 'self' blob: data:",
            "media-src 'self' blob: data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            self._frames,
        )
        return "; ".join(rules)


def inline_script_hashes(folder: Path) -> list[str]:
    """The inline scripts of a folder's pages, as sources of a `script-src`."""
    found = [
        script
        for file in sorted(folder.glob("*.html"))
        for script in INLINE_SCRIPT.findall(file.read_bytes())
    ]
    digests = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in found]
    return [f"'sha256-{each}'" for each in digests]
