"""Turns: few at once, fair between clients, refused when too many wait."""

import asyncio

import pytest

from server.api.turns import Turns
from server.protocol.errors import ErrorCode, ProtocolError


class Work:
    """Work in turns that ends when the test says so."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, client: str, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(client, name))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def end(self, name: str) -> None:
        self.ends[name].set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def _run(self, client: str, name: str) -> None:
        self.ends[name] = asyncio.Event()
        async with self.turns.turn(client):
            self.order.append(name)
            await self.ends[name].wait()


@pytest.mark.fault("crowds")
async def test_clients_are_served_in_rotation() -> None:
    """A client that asks for much work at once does not keep others waiting for all of it."""
    work = Work(Turns("tests", at_once=1, of_one=9, of_all=9))
    for number in range(4):
        await work.start("greedy", f"g{number}")
    await work.start("modest", "m")
    for name in ("g0", "m", "g1", "g2", "g3"):
        await work.end(name)
    assert work.order == ["g0", "m", "g1", "g2", "g3"]
    await asyncio.gather(*work.tasks)
    assert (work.turns.running, work.turns.waiting) == (0, 0)


async def test_a_client_has_one_turn_at_a_time() -> None:
    work = Work(Turns("tests", at_once=2, of_one=9, of_all=9))
    for client, name in (("a", "a0"), ("a", "a1"), ("b", "b0")):
        await work.start(client, name)
    assert work.order == ["a0", "b0"]
    await work.end("a0")
    assert work.order == ["a0", "b0", "a1"]
    await work.end("a1")
    await work.end("b0")
    await asyncio.gather(*work.tasks)


@pytest.mark.parametrize(("of_one", "of_all"), [(2, 9), (9, 2)])
async def test_who_may_not_even_wait_is_told_to_come_again(of_one: int, of_all: int) -> None:
    turns = Turns("tests", at_once=1, of_one=of_one, of_all=of_all)
    work = Work(turns)
    for number in range(3):
        await work.start("a", str(number))
    with pytest.raises(ProtocolError, match="Too many tests at once") as refused:
        async with turns.turn("a"):
            pass
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retryable
    assert refused.value.retry_after_s
    for number in range(3):
        await work.end(str(number))
    await asyncio.gather(*work.tasks)


@pytest.mark.parametrize("cancelled", ["running", "waiting"])
async def test_who_goes_away_frees_the_turn(cancelled: str) -> None:
    work = Work(Turns("tests", at_once=1, of_one=9, of_all=9))
    running = await work.start("a", "running")
    waiting = await work.start("a", "waiting")
    await work.start("b", "last")
    task = running if cancelled == "running" else waiting
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for name in {"running", "waiting", "last"} - {cancelled}:
        await work.end(name)
    await asyncio.wait_for(asyncio.gather(*work.tasks, return_exceptions=True), 5)
    assert "last" in work.order
    assert (work.turns.running, work.turns.waiting) == (0, 0)


async def test_a_turn_that_came_as_its_owner_left_goes_to_the_next() -> None:
    turns = Turns("tests", at_once=1, of_one=9, of_all=9)
    work = Work(turns)
    running = await work.start("a", "running")
    unlucky = await work.start("b", "unlucky")
    await work.start("c", "next")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    unlucky.cancel()  # its turn was given in the same round
    await asyncio.gather(unlucky, return_exceptions=True)
    await asyncio.sleep(0)
    assert work.order[-1] == "next"
    await work.end("next")
    await asyncio.gather(*work.tasks, return_exceptions=True)
    assert (turns.running, turns.waiting) == (0, 0)


async def test_of_work_that_may_not_wait_a_client_has_its_share_and_the_rest_is_refused() -> None:
    work = Work(Turns("tests", at_once=3, of_one=0, of_all=0, each=2))
    started = [await work.start("a", name) for name in ("a0", "a1", "a2")]
    started.append(await work.start("b", "b0"))
    started.append(await work.start("c", "c0"))
    assert work.order == ["a0", "a1", "b0"]
    for name in work.order:
        await work.end(name)
    ends = await asyncio.gather(*started, return_exceptions=True)
    assert [type(end) for end in ends if end] == [ProtocolError] * 2
