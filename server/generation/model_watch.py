"""Notices that the model hangs, or that it fails for everybody: no session can go on then.

One failure ends one session. After several in a row, or one that is known to spoil a device for
good, a stream is tried out. Only if this fails too, the model has failed: so a client whose own
stream always fails cannot end a server.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import AvatarError, RankLost
from server.generation.interface import CallTimes
from server.generation.model_thread import ModelThread, UnderWay, Work
from server.generation.tick_job import TickResult

logger = logging.getLogger(__name__)

CHECK_S = 0.25
"""Between two looks at the calls under way. Each look counts for so long, however late it is: a
process that was stopped, or a busy machine, makes no call look hung."""
FAILURES_IN_A_ROW = 3
SLOWER_THAN_KNOWN = 5
"""How many times slower than the slowest call known so far a call may be."""
SPOILED_DEVICE = ("CUDA error", "CUDA driver error", "illegal memory access", "device-side assert")
"""In messages of errors after which no call on a device succeeds any more."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Seconds after which a call counts as hung."""

    open_s: float
    tick_s: float

    @classmethod
    def of(cls, timeout_ms: int, times: CallTimes) -> "CallLimits":
        """The timeout, or several times the slowest known call if that is more."""
        least = timeout_ms / 1000
        return cls(
            max(least, SLOWER_THAN_KNOWN * times.open_s),
            max(least, SLOWER_THAN_KNOWN * times.tick_s),
        )

    def is_over(self, call: UnderWay) -> bool:
        """Whether the call has taken too long."""
        return call.seconds > (self.open_s if call.work is Work.OPEN else self.tick_s)


class Failures:
    """Counts failures in a row, and says when a stream should be tried out. Pure."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def observe(self, result: object, error: BaseException | None) -> bool:
        """Whether the model is suspected after this result or error of a call."""
        if error is None:
            if _has_frames(result):
                self._in_a_row = 0
            return False
        if not is_models_fault(error):
            return False
        self._in_a_row += 1
        if self._in_a_row < FAILURES_IN_A_ROW and not _spoils_device(error):
            return False
        self._in_a_row = 0
        return True


def is_models_fault(error: BaseException) -> bool:
    """Whether the model caused it, rather than a request, or a file that is gone."""
    return isinstance(error, RankLost) or not isinstance(error, AvatarError | OSError)


def _has_frames(result: object) -> bool:
    """Whether a call brought frames, not only the promise of a device to make some."""
    if isinstance(result, TickResult):
        return result.is_ready and len(result.frames) > 0
    return isinstance(result, list)


def _spoils_device(error: BaseException) -> bool:
    if isinstance(error, RankLost) or type(error).__name__ == "AcceleratorError":
        return True
    return any(sign in str(error) for sign in SPOILED_DEVICE)


class ModelWatch:
    """Calls `on_failed` with the reason, once, if the model hangs or fails for everybody.

    `trial` runs on the model thread and raises if a new stream would fail too. All else happens on
    the event loop.
    """

    def __init__(self, trial: Callable[[], None], on_failed: Callable[[str], None]) -> None:
        self.thread = ModelThread(self._observe)
        self._trial = trial
        self._on_failed = on_failed
        self._failures = Failures()
        self._trying: asyncio.Task[None] | None = None
        self._has_failed = False

    async def run(self, limits: CallLimits) -> None:
        """Look at the calls under way until one hangs."""
        while not self._has_failed:
            await asyncio.sleep(CHECK_S)
            for call in self.thread.under_way:
                call.seconds += CHECK_S
                if limits.is_over(call):
                    self._fail(f"a call ({call.work.value}) has not ended for {call.seconds:g} s")

    async def aclose(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)

    def _observe(self, result: object, error: BaseException | None) -> None:
        is_trying = self._trying is not None and not self._trying.done()
        if self._failures.observe(result, error) and not is_trying and not self._has_failed:
            self._trying = asyncio.get_running_loop().create_task(self._try(error))

    async def _try(self, suspicion: BaseException | None) -> None:
        logger.error("the model is tried out, because streams fail: %r", suspicion)
        try:
            await self.thread.run(self._trial, work=Work.OPEN)
        except Exception as error:  # whatever it is: the next session would meet it
            if is_models_fault(error):
                self._fail(f"every stream fails ({error!r})")

    def _fail(self, reason: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.critical("the model has failed: %s", reason)
            self.thread.log_stack()
            self._on_failed(reason)
