import asyncio
import threading
import weakref

import pytest

from server.generation.model_thread import ModelThread


async def test_calls_run_on_one_thread_and_answer():
    thread = ModelThread()
    names = {await thread.run(lambda: threading.current_thread().name) for _ in range(3)}
    await thread.aclose()
    assert names == {"model"}


async def test_of_the_calls_that_wait_the_one_due_first_runs_first():
    thread = ModelThread()
    free, order = threading.Event(), []
    first = asyncio.ensure_future(thread.run(free.wait))
    await asyncio.sleep(0)
    rest = [
        asyncio.ensure_future(thread.run(lambda due=due: order.append(due), due))
        for due in (3.0, 1.0, 2.0)
    ]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, *rest)
    await thread.aclose()
    assert order == [1.0, 2.0, 3.0]


async def test_an_error_reaches_the_caller_and_the_thread_goes_on():
    thread = ModelThread()
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 7) == 7
    await thread.aclose()


async def test_a_caller_that_gives_up_takes_its_call_back():
    thread = ModelThread()
    free, done = threading.Event(), []
    first = asyncio.ensure_future(thread.run(free.wait))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(thread.run(lambda: done.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    free.set()
    await first
    await thread.run(lambda: None)
    await thread.aclose()
    assert done == []


async def test_a_call_that_was_taken_back_is_held_by_nobody():
    class Session:
        def tick(self) -> None: ...

    thread, free, session = ModelThread(), threading.Event(), Session()
    alive = weakref.ref(session)
    first = asyncio.ensure_future(thread.run(free.wait))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(thread.run(session.tick))
    await asyncio.sleep(0)
    second.cancel()
    free.set()
    await first
    del session, second
    async with asyncio.timeout(10):
        while alive():  # noqa: ASYNC110  (the thread lets go when it will)
            await asyncio.sleep(0.001)
    assert alive() is None
    await thread.aclose()


async def test_closing_leaves_no_thread_and_no_one_waiting():
    thread = ModelThread()
    free = threading.Event()
    first = asyncio.ensure_future(thread.run(free.wait))
    await asyncio.sleep(0)
    while thread.waiting:  # noqa: ASYNC110  (the thread takes it when it will)
        await asyncio.sleep(0.001)
    waiting = asyncio.ensure_future(thread.run(lambda: None))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(thread.aclose())
    await asyncio.sleep(0)
    free.set()
    await closing
    await first
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert all(each.name != "model" for each in threading.enumerate())
    with pytest.raises(RuntimeError, match="closed"):
        await thread.run(lambda: None)
