"""The characters of a server, asked over HTTP."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from avatar_client.session_socket import AvatarClientError, realtime_url

TIMEOUT_S = 10.0


async def characters(url: str, api_key: str | None = None) -> list[dict[str, Any]]:
    """What `GET /v1/characters` lists: `id`, `speakers` and more of each.

    Raises AvatarClientError when the server does not answer, or refuses.
    """
    return await asyncio.to_thread(_get, _address(url), api_key)


async def character_speaking(url: str, names: Collection[str], api_key: str | None = None) -> str:
    """Id of the first character with speakers of all these names and the fewest others.

    Raises AvatarClientError when there is none.
    """
    found = await characters(url, api_key)
    able = [one for one in found if set(names) <= {who["id"] for who in one["speakers"]}]
    if not able:
        raise AvatarClientError(
            f"found no character with the speakers {', '.join(sorted(names))}, expected names that "
            "one character has; see `avatar characters list`",
            "unknown_speaker",
        )
    return str(min(able, key=lambda one: len(one["speakers"]))["id"])


def _address(url: str) -> str:
    parts = urlsplit(realtime_url(url, None))
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    path = parts.path.removesuffix("/realtime").removesuffix("/v1")
    return urlunsplit((scheme, parts.netloc, f"{path}/v1/characters", "", ""))


def _get(address: str, api_key: str | None) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return list(json.load(response)["characters"])
    except urllib.error.HTTPError as refusal:
        hint = " Give its API key: --api-key or AVATAR_API_KEY" if refusal.code == 401 else ""
        raise AvatarClientError(f"{address} answered HTTP {refusal.code}.{hint}") from None
    except (OSError, ValueError, KeyError) as error:
        raise AvatarClientError(
            f"No avatar server answers at {address} ({error}). Start one: avatar serve"
        ) from error
