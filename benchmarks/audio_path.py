"""How many files one audio chunk passes through, from the socket to the two tracks.

A real server runs in this process and a real client sends it one second of speech. Calls into
`server` and `runtime` are recorded inside the entry points of ROOTS only, once each in the order of
the way: what reads the message, the tick that consumes it, and the slice that plays it. Other work
of the server (pacing, idle ticks, metrics of other slices) is not part of the chunk's way.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType

import numpy as np
from avatar_client.client import AvatarClient

from server.api.app import create_app
from server.cli.embedded import running
from server.config import ServerConfig
from server.generation.runtime_backend import RuntimeBackend

REPOSITORY = Path(__file__).parent.parent
RATE = 16_000
SETTLE_S = 2.0
TRACED_S = 3.0
MESSAGE = ("RealtimeSocket._read", "parse_binary", "Session.handle")
TICK = ("TickScheduler._run_tick", "TickJob.__call__", "TickScheduler._take")
SLICE = ("Playout.next_slice", "AudioTrack.push", "VideoTrack.push", "MediaSession._on_slice")
PACKETS = ("AudioTrack.recv", "VideoTrack.recv")
STAGES = (MESSAGE, TICK, SLICE, PACKETS)
"""Qualified names of the functions that a chunk's way enters, in its order."""
ROOTS = MESSAGE + TICK + SLICE + PACKETS


@dataclass
class Recording:
    """Files of the calls below each root, first entry of each root only."""

    calls: dict[str, list[str]] = field(default_factory=dict)
    is_on: bool = False
    _early: list[FrameType] = field(default_factory=list)
    _open: dict[str, FrameType] = field(default_factory=dict)
    _inside: dict[int, list[tuple[str, FrameType]]] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if not self.is_on:
            if event == "call" and frame.f_code.co_qualname in TICK:
                self._early.append(frame)
            return
        if event not in ("call", "return"):
            return
        inside = self._inside.setdefault(threading.get_ident(), [])
        if event == "return":
            if inside and inside[-1][1] is frame:
                inside.pop()
            return
        name = frame.f_code.co_qualname
        if name in ROOTS and self._is_first(name, frame):
            inside.append((name, frame))
        if inside and (file := _own_file(frame)):
            self.calls.setdefault(inside[-1][0], []).append(file)

    def _is_first(self, name: str, frame: FrameType) -> bool:
        """Whether this is the first entry of a root whose stage has come, or its resumption."""
        before = [root for stage in STAGES[: _stage_of(name)] for root in stage]
        if not all(root in self._open for root in before):
            self._early.append(frame)
            return False
        if name in TICK and not self._is_of_this_tick(name, frame):
            return False
        return self._open.setdefault(name, frame) is frame

    def _is_of_this_tick(self, name: str, frame: FrameType) -> bool:
        """Whether it belongs to a tick that began after the message was handled."""
        is_early = any(frame is early for early in self._early)
        return not is_early and all(root in self._open for root in TICK[: TICK.index(name)])

    def way(self) -> list[str]:
        """Files in the order in which the chunk's way enters them."""
        return [file for root in ROOTS for file in self.calls.get(root, [])]


def _stage_of(root: str) -> int:
    return next(number for number, stage in enumerate(STAGES) if root in stage)


def _own_file(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(REPOSITORY):
        return None
    local = path.relative_to(REPOSITORY)
    return str(local) if local.parts[0] in ("server", "runtime") else None


def moves(way: list[str]) -> int:
    """How often the way goes from one file to another."""
    return sum(one != other for one, other in pairwise(way))


async def record() -> Recording:
    """The way of one second of speech through a warm server."""
    recording = Recording()
    threading.setprofile(recording)  # for the model thread, which starts with the server
    sys.setprofile(recording)
    try:
        config = ServerConfig()
        app = create_app(config, RuntimeBackend(config.model))
        async with (
            running(config, app) as port,
            await AvatarClient.connect(f"http://127.0.0.1:{port}") as avatar,
        ):
            await avatar.open_media()
            await asyncio.sleep(SETTLE_S)
            recording.is_on = True
            await avatar.speak(_speech(), rate=RATE)
            await asyncio.sleep(TRACED_S)
            recording.is_on = False
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return recording


def _speech() -> bytes:
    at_s = np.arange(RATE) / RATE
    return (8000 * np.sin(2 * np.pi * 220 * at_s)).astype("<i2").tobytes()


def run() -> dict[str, object]:
    """Files that the chunk's way visits, moves from one file to another, and the way itself."""
    way = asyncio.run(record()).way()
    return {
        "files": len(set(way)),
        "moves": moves(way),
        "way": " > ".join(file for file, _ in groupby(way)),
    }
