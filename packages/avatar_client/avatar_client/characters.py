"""The characters that a server offers, asked over HTTP."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Any

from avatar_client.connection.address import (
    http_opener,
    http_url,
    key_headers,
    proxy_for,
    shown_url,
)
from avatar_client.connection.opening import tls_problem
from avatar_client.errors import AvatarClientError
from avatar_client.media_files.failure import reason_of

TIMEOUT_S = 10.0


async def list_characters(url: str, api_key: str | None = None) -> list[dict[str, Any]]:
    """The list of `GET /v1/characters`: each with `id`, `speakers` and more.

    Raises AvatarClientError if the server does not answer, or refuses.
    """
    return await asyncio.to_thread(_get, http_url(url, "characters"), key_headers(api_key))


async def find_character(url: str, names: Collection[str], api_key: str | None = None) -> str:
    """Id of the first character with speakers of all these names and the fewest others.

    Raises AvatarClientError if there is none; its message lists the names that there are.
    """
    found = await list_characters(url, api_key)
    matching = [one for one in found if set(names) <= set(_speaker_names(one))]
    if not matching:
        raise AvatarClientError(_no_character(names, found), "unknown_speaker")
    return str(min(matching, key=lambda one: len(one["speakers"]))["id"])


def _no_character(names: Collection[str], found: list[dict[str, Any]]) -> str:
    wanted = ", ".join(sorted(names))
    single = sorted({name for one in found for name in _speaker_names(one)})
    shared = [" + ".join(_speaker_names(one)) for one in found if len(one["speakers"]) > 1]
    lines = [
        f"No character of this server has {_counted('speaker', len(names))} {wanted}.",
        f"Speakers: {', '.join(single) or 'none'}.",
    ]
    if shared:
        lines.append(f"Together in one picture: {', '.join(shared)}.")
    return "\n".join(lines)


def _counted(noun: str, count: int) -> str:
    return f"a {noun} named" if count == 1 else f"the {noun}s"


def _speaker_names(character: dict[str, Any]) -> list[str]:
    return [speaker["id"] for speaker in character["speakers"]]


def _get(address: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    request = urllib.request.Request(address, headers=headers)
    where = shown_url(address)
    try:
        with http_opener(address).open(request, timeout=TIMEOUT_S) as response:
            return list(json.load(response)["characters"])
    except urllib.error.HTTPError as refusal:
        hint = " Pass its API key: --api-key or AVATAR_API_KEY." if refusal.code == 401 else ""
        raise AvatarClientError(f"{where} answered HTTP {refusal.code}.{hint}") from None
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "reason", error)  # of URLError: the real one
        raise AvatarClientError(_no_answer(address, reason)) from error


def _no_answer(address: str, reason: Any) -> str:
    where = shown_url(address)
    if isinstance(reason, ssl.SSLError):
        return tls_problem(address, reason)
    told = f"No avatar server answers at {where} ({reason_of(reason)})."
    proxy = proxy_for(address)
    if proxy is None:
        return f"{told} Start one: avatar serve"
    return f"{told} The proxy {proxy.shown} is in between: set NO_PROXY to the server's host."
