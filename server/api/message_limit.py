"""How large the messages of a socket may be, told to the server below the app."""

from collections.abc import Callable

from starlette.types import Scope

EXTENSION = "avatar.message_limit"
"""Key of a function in the extensions of a WebSocket's scope; see server.cli.connections."""


def limit_messages(scope: Scope, size: int) -> None:
    """Messages of the socket may have `size` bytes from now on; before, none are read.

    A server without the extension reads all messages up to its own limit.
    """
    limit: Callable[[int], None] | None = scope.get("extensions", {}).get(EXTENSION)
    if limit is not None:
        limit(size)
