"""Named tasks and timers of one owner, which can all be ended together."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any


class Tasks:
    """Starts, replaces and ends tasks and timers by name; `on_error` gets what a task raises."""

    def __init__(self, owner: str, on_error: Callable[[BaseException], None]) -> None:
        self._owner = owner
        self._on_error = on_error
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; cancels a task of the same name first."""
        self.stop(name)
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}-{name}")
        self._tasks[name] = task
        task.add_done_callback(partial(self._on_done, name))

    def stop(self, name: str) -> None:
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()

    def start_timer(self, name: str, delay_ms: int, call: Callable[[], None]) -> None:
        """Call `call` after `delay_ms`, unless the timer is stopped or restarted."""
        self.stop_timer(name)
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(delay_ms / 1000, self._go_off, name, call)

    def _go_off(self, name: str, call: Callable[[], None]) -> None:
        del self._timers[name]
        call()

    def has_timer(self, name: str) -> bool:
        return name in self._timers

    def stop_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    async def aclose(self) -> None:
        """Cancel everything except the calling task, and wait for it to end."""
        for name in list(self._timers):
            self.stop_timer(name)
        current = asyncio.current_task()
        others = [task for task in self._tasks.values() if task is not current]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._tasks.clear()

    def _on_done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)
