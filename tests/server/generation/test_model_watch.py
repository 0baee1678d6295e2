"""When a model counts as failed, and when it does not."""

import asyncio
import threading

import pytest

from runtime.errors import BadInput, RankLost, Unsupported
from runtime.values import Frame
from server.generation import model_watch
from server.generation.interface import CallTimes
from server.generation.model_thread import UnderWay, Work
from server.generation.model_watch import CallLimits, Failures, ModelWatch
from server.generation.tick_job import TickResult
from tests.support.serving.virtual_clock import pass_time

pytestmark = pytest.mark.fault("broken-model")

BUG = ValueError("of one stream")
FRAMES = [Frame(0, None)]
LIMITS = CallLimits(open_s=1.0, tick_s=0.5)


def tick(frames: list[Frame], *, is_ready: bool = True) -> TickResult:
    return TickResult(frames, 0, {}, 0.1, is_ready)


def suspected_after(*outcomes: object) -> list[bool]:
    """Whether the model is suspected after each result or error."""
    failures = Failures()
    return [
        failures.observe(None, each)
        if isinstance(each, BaseException)
        else failures.observe(each, None)
        for each in outcomes
    ]


def test_three_failures_in_a_row_make_the_model_suspect():
    """One failure is a session's own; three in a row are looked into."""
    assert suspected_after(BUG, BUG, BUG) == [False, False, True]


def test_a_stream_that_works_clears_the_model():
    """A model that works for others is not suspected."""
    assert not any(suspected_after(BUG, BUG, tick(FRAMES), BUG, BUG, FRAMES, BUG, BUG))


def test_work_that_a_device_only_promises_clears_nothing():
    """Only frames that exist show that the model works."""
    promised = tick(FRAMES, is_ready=False)
    assert suspected_after(BUG, promised, BUG, tick([]), None, BUG)[-1]


@pytest.mark.parametrize("error", [BadInput("a wish"), Unsupported("no"), FileNotFoundError("x")])
def test_what_a_client_or_a_file_causes_is_not_the_models_fault(error):
    """Bad requests and lost files never bring the model down, however many there are."""
    assert not any(suspected_after(*[error] * 10))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        type("AcceleratorError", (RuntimeError,), {})("unspecified launch failure"),
        RankLost("rank 1 ended"),
    ],
)
def test_a_spoiled_device_is_suspected_at_once(error):
    """A GPU fault after which nothing works any more is looked into at once."""
    assert suspected_after(error) == [True]


def test_a_call_may_take_several_times_as_long_as_it_took_at_the_start():
    limits = CallLimits.of(20_000, CallTimes(open_s=60.0, tick_s=0.1))
    assert limits == CallLimits(open_s=300.0, tick_s=20.0)
    assert limits.is_over(UnderWay(Work.TICK, 20.5))
    assert not limits.is_over(UnderWay(Work.OPEN, 20.5))


class Watched:
    """A watch that looks often, and what it found."""

    def __init__(self, trial=lambda: None) -> None:
        self.reasons: list[str] = []
        self.watch = ModelWatch(trial, self.reasons.append)
        self.running = asyncio.ensure_future(self.watch.run(LIMITS))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        await self.watch.aclose()
        await self.watch.thread.aclose()

    async def until_failed(self) -> str:
        async with asyncio.timeout(10):
            while not self.reasons:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.reasons[0]


@pytest.fixture
def looks_often(monkeypatch):
    monkeypatch.setattr(model_watch, "CHECK_S", 0.02)


@pytest.mark.usefixtures("looks_often")
@pytest.mark.parametrize("where", ["run", "beside"])
async def test_a_call_that_hangs_is_noticed(where, caplog):
    """A call that hangs, on the model thread or in a wait for the GPU, is noticed."""
    free = threading.Event()

    def hang_here() -> None:
        free.wait()

    async with Watched() as seen:
        hanging = asyncio.ensure_future(getattr(seen.watch.thread, where)(hang_here))
        assert "has not ended for 0." in await seen.until_failed()
        free.set()
        await hanging
    if where == "run":
        assert "hang_here" in caplog.text
    assert len(seen.reasons) == 1


@pytest.mark.usefixtures("looks_often")
async def test_calls_that_wait_for_their_turn_do_not_hang():
    """Only the call that runs is timed: a long queue is no fault."""
    free = threading.Event()
    async with Watched() as seen:
        loading = asyncio.ensure_future(seen.watch.thread.run(free.wait, work=Work.LOAD))
        waiting = asyncio.ensure_future(seen.watch.thread.run(lambda: 7))
        await asyncio.sleep(0.05)
        assert all(each.seconds == 0 for each in seen.watch.thread.under_way)
        free.set()
        await loading
        assert await waiting == 7
    assert seen.reasons == []


async def test_a_process_that_was_stopped_does_not_look_hung():
    """Time in which the process did not run (suspended, stopped) makes no call look hung."""
    free = threading.Event()
    async with Watched() as seen:
        call = asyncio.ensure_future(seen.watch.thread.run(free.wait))
        await asyncio.sleep(0.05)
        with pytest.MonkeyPatch.context() as patch:
            pass_time(patch, 3600.0)
            await asyncio.sleep(0.05)
        (waited,) = [each.seconds for each in seen.watch.thread.under_way]
        free.set()
        await call
    assert 0 < waited <= 2 * model_watch.CHECK_S
    assert seen.reasons == []


async def fail(seen: Watched, error: Exception) -> None:
    def raises() -> None:
        raise error

    with pytest.raises(type(error)):
        await seen.watch.thread.run(raises)


async def test_a_suspected_model_that_still_works_goes_on():
    """A client whose streams always fail cannot end the server: a stream is tried out first."""
    trials = []
    async with Watched(lambda: trials.append(1)) as seen:
        for _ in range(7):
            await fail(seen, BUG)
            await asyncio.sleep(0.05)
    assert len(trials) == 2
    assert seen.reasons == []


async def test_a_model_whose_trial_fails_too_has_failed(caplog):
    """A model that fails for a stream of the server's own as well has failed."""

    def trial() -> None:
        raise BUG

    async with Watched(trial) as seen:
        await fail(seen, RuntimeError("CUDA error: unspecified launch failure"))
        assert "every stream fails" in await seen.until_failed()
    assert "CUDA error" in caplog.text


async def test_an_error_that_nobody_awaits_any_more_counts_too():
    """A failure counts although its session has ended meanwhile."""
    trials = []
    async with Watched(lambda: trials.append(1)) as seen:
        free = threading.Event()

        def raises() -> None:
            free.wait()
            raise RuntimeError("CUDA error: unspecified launch failure")

        call = asyncio.ensure_future(seen.watch.thread.run(raises))
        await asyncio.sleep(0.05)
        call.cancel()
        free.set()
        async with asyncio.timeout(10):
            while not trials:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert seen.reasons == []
