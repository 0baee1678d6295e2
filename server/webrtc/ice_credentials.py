"""ICE servers as each side of a session gets them, with TURN credentials that expire.

The scheme is that of draft-uberti-behave-turn-rest-00, which coturn calls `use-auth-secret`: the
user name is the time of expiry and a name, the credential its HMAC under the shared secret.
"""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass

from server.config import IceServer


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """What TURN asks for; both are None for STUN."""

    username: str | None
    credential: str | None


def credentials_for(server: IceServer, name: str, now_s: float | None = None) -> IceCredentials:
    """The credentials of `name`, valid for `ttl_ms` from now; fixed ones if there is no secret.

    `now_s` counts from 1970: the TURN server compares it with its own wall clock.
    """
    if server.secret is None:
        return IceCredentials(server.username, server.credential)
    expires_s = int((time.time() if now_s is None else now_s) + server.ttl_ms / 1000)
    username = f"{expires_s}:{name}"
    digest = hmac.new(server.secret.encode(), username.encode(), hashlib.sha1).digest()
    return IceCredentials(username, base64.b64encode(digest).decode())
