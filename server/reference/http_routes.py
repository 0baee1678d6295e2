"""The HTTP routes of the app, for documents."""

from dataclasses import dataclass
from typing import Any, cast

from server.api.app import create_app
from server.config import ServerConfig
from server.generation.interface import Backend


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route; `text` is the docstring of its function, on one line."""

    method: str
    path: str
    needs_key: bool
    text: str


def http_routes() -> list[HttpRoute]:
    """Every route, in the order of the app."""
    app = create_app(ServerConfig(), cast(Backend, None))  # no engine is used before the start
    return [
        _route(method, path, operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def _route(method: str, path: str, operation: dict[str, Any]) -> HttpRoute:
    text = " ".join(operation["description"].split())
    return HttpRoute(method.upper(), path, "security" in operation, text)
