"""All attacks, one after another, each with a healthy neighbour; what the neighbour saw.

The goals: 25 pictures a second and no gap above 200 ms for the neighbour, no traceback, memory,
threads, files, tasks and places back to where they were.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attack import (
    conformance,
    cycles,
    datagrams,
    http_attacks,
    media_attacks,
    socket_attacks,
)
from benchmarks.attack.socket_attacks import Attack
from benchmarks.attack.target import NeighbourProcess, Target, neighbour
from benchmarks.running_server import running_server

CALM_S = 8.0
ATTACK_S = 8.0
SESSIONS = 6
"""One address gets all but one: the neighbour and four attackers."""
ATTACKERS = 4


async def _datagrams(kind: str, target: Target, seconds: float) -> int:
    return await datagrams.send(target, kind)


ATTACKS: Mapping[str, Attack] = {
    "nothing": lambda target, seconds: _wait(seconds),
    **{f"datagrams: {kind}": partial(_datagrams, kind) for kind in datagrams.KINDS},
    "flood before the peer": media_attacks.flood_before_the_peer,
    "NACK storm": media_attacks.nack_storm,
    "PLI storm": media_attacks.pli_storm,
    "offers": media_attacks.offers,
    "candidates of a victim": media_attacks.candidates,
    "settings": socket_attacks.settings,
    "small messages": socket_attacks.small_messages,
    "lists of 17 MB": socket_attacks.big_lists,
    "appends of 17 MB": socket_attacks.big_appends,
    "items of mixed rates": socket_attacks.many_items,
    "hoarders in the queue": socket_attacks.queued_hoarders,
    "take-ups of one session": socket_attacks.take_ups,
    "pings without reading": socket_attacks.ping_flood,
    "fragments of one byte": socket_attacks.fragments,
    "half requests": socket_attacks.half_requests,
    "lists of characters": http_attacks.lists,
    "previews": http_attacks.previews,
    "texts to speak": http_attacks.texts,
    "odd paths": http_attacks.keys,
    "pictures of 49 megapixels": http_attacks.pictures,
    "a thousand faces": http_attacks.faces,
}


async def _wait(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 0


@asynccontextmanager
async def attacked() -> AsyncIterator[tuple[Target, NeighbourProcess]]:
    """A server with a neighbour, both in processes of their own."""
    with TemporaryDirectory() as folder:
        flags = ("--max-sessions", str(SESSIONS), "--characters", folder, "--log-level", "info")
        with running_server(*flags) as server:
            target = Target(server)
            async with neighbour(target) as beside:
                yield target, beside


async def under_attack(
    target: Target, beside: NeighbourProcess, attack: Attack, seconds: float = ATTACK_S
) -> dict[str, Any]:
    """One attack: what was done, what the neighbour saw, what it cost the server."""
    before, failures = target.resources(), target.tracebacks()
    await beside.report()
    done, _ = await asyncio.gather(attack(target, seconds), asyncio.sleep(seconds))
    seen = await beside.report()
    await cycles.settled(target)
    after = target.resources()
    return {
        "done": done,
        "pictures a second": seen["pictures_per_s"],
        "longest gap, ms": seen["longest_gap_ms"],
        "cut short or errors": seen["cut_short"] + seen["errors"],
        "tracebacks": target.tracebacks() - failures,
        "memory grown, MB": round(after.memory_mb - before.memory_mb, 1),
        "files grown": after.files - before.files,
        "places kept": after.sessions + after.queued - before.sessions - before.queued,
    }


def run(names: Sequence[str]) -> dict[str, Any]:
    """Every attack whose name starts with one of `names`; all of them without names."""
    chosen = {
        name: attack
        for name, attack in ATTACKS.items()
        if not names or any(name.startswith(each) for each in names)
    }
    return asyncio.run(_run(chosen))


async def _run(chosen: Mapping[str, Attack]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    async with attacked() as (target, beside):
        await asyncio.sleep(CALM_S)  # the first session's memory is no attack's
        for name, attack in chosen.items():
            values[name] = await under_attack(target, beside, attack)
            print(name, json.dumps(values[name]), flush=True)
    seen = list(values.values())
    return values | {
        "worst": {
            "pictures a second": min(one["pictures a second"] for one in seen),
            "longest gap, ms": max(one["longest gap, ms"] for one in seen),
            "tracebacks": sum(one["tracebacks"] for one in seen),
        }
    }


def conformance_suites() -> dict[str, Any]:
    """Autobahn's cases against our socket layer, and requests from our OpenAPI description."""

    async def measure() -> dict[str, Any]:
        async with attacked() as (target, _):
            return {
                "WebSocket": await conformance.web_sockets(),
                "HTTP": await conformance.requests(target) | {"tracebacks": target.tracebacks()},
            }

    return asyncio.run(measure())


def messages(count: int) -> dict[str, Any]:
    """`count` hostile messages beside the neighbour, compared with an idle server's seconds."""

    async def measure() -> dict[str, Any]:
        async with attacked() as (target, beside):
            await socket_attacks.hostile_messages(target, 2_000, seed=0)  # a session's own memory
            await cycles.settled(target)
            attack = partial(_hostile, count)
            return await under_attack(target, beside, attack)

    return asyncio.run(measure())


async def _hostile(count: int, target: Target, seconds: float) -> int:
    each = range(ATTACKERS)
    sent = await asyncio.gather(
        *(socket_attacks.hostile_messages(target, count // ATTACKERS, seed=1 + n) for n in each)
    )
    return sum(sent)


def connections(count: int) -> dict[str, Any]:
    """`count` sessions that come and go; what the server held before and after."""

    async def measure() -> dict[str, Any]:
        async with attacked() as (target, beside):
            await cycles.cycle(target, 60)
            await cycles.settled(target)
            before = asdict(target.resources())
            await beside.report()
            failed = await cycles.cycle(target, count)
            seen = await beside.report()
            await cycles.settled(target)
            after = asdict(target.resources())
            grown = {name: round(after[name] - before[name], 1) for name in before}
            return {
                "sessions": count,
                "failed": failed,
                "grown": grown,
                "tracebacks": target.tracebacks(),
                "pictures a second": seen["pictures_per_s"],
                "longest gap, ms": seen["longest_gap_ms"],
            }

    return asyncio.run(measure())
