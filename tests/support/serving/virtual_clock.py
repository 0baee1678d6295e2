"""An event loop whose time passes only when nothing else is to do: hours in milliseconds."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it. For work without sockets and threads."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0

    def time(self) -> float:
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Let time pass while the loop is stopped, as on a suspended machine."""
        self._virtual_now += seconds

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._virtual_now = max(self._virtual_now, self._scheduled[0]._when)
        super()._run_once()


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(work)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the running loop's real clock forward, for the rest of the test: what is due goes off."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + seconds)
