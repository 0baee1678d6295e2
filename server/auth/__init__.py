"""Which requests are answered: the API key, client secrets, origins and hosts."""

from server.auth.authenticator import (
    Authenticator,
    bearer,
    may_resume,
    offered_secret,
    offered_subprotocols,
)
from server.auth.client_secrets import ClientSecret

__all__ = [
    "Authenticator",
    "ClientSecret",
    "bearer",
    "may_resume",
    "offered_secret",
    "offered_subprotocols",
]
