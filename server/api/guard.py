"""The key of an HTTP request, checked once for the request."""

from starlette.datastructures import Headers
from starlette.types import Scope

_CHECKED = "avatar.key_checked"


def require_key(scope: Scope) -> None:
    """Raise ProtocolError unless the request may be answered.

    The first call for a request checks, the others return: a request with a body is checked
    before its body is read, all others by their route.
    """
    if _CHECKED not in scope:
        scope["app"].state.registry.access.check(Headers(scope=scope), client_address(scope))
        scope[_CHECKED] = True


def client_address(scope: Scope) -> str:
    """The address that the request comes from, as uvicorn found it; "" if it has none."""
    client = scope.get("client")
    return client[0] if client else ""
