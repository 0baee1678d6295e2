"""Latency spans: `with spans("denoise"):` around a stage, free when nobody listens.

The pipeline takes any `Spans`; `no_spans` does nothing, a `SpanRecorder` keeps the newest ones.
"""

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

KEPT_SPANS = 20_000


class Spans(Protocol):
    """Marks a stage of the pipeline."""

    def __call__(self, name: str, /) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Span:
    """A stage that ran from `start_ns` (monotonic) for `duration_ns`."""

    name: str
    start_ns: int
    duration_ns: int


_NOTHING = nullcontext()


def no_spans(name: str, /) -> AbstractContextManager[None]:
    """The recorder that is off."""
    return _NOTHING


class SpanRecorder:
    """Keeps the newest spans, for percentiles and for a trace viewer."""

    def __init__(self, kept: int = KEPT_SPANS) -> None:
        self._spans: deque[Span] = deque(maxlen=kept)

    @contextmanager
    def __call__(self, name: str, /) -> Iterator[None]:
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self._spans.append(Span(name, start, time.perf_counter_ns() - start))

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(self._spans)

    def drain(self) -> tuple[Span, ...]:
        """The kept spans, forgotten afterwards."""
        spans = self.spans
        self._spans.clear()
        return spans

    def chrome_trace(self) -> str:
        """The kept spans as JSON for chrome://tracing and Perfetto."""
        events = [
            {
                "name": span.name,
                "ph": "X",
                "ts": span.start_ns / 1000,
                "dur": span.duration_ns / 1000,
                "pid": 0,
                "tid": 0,
            }
            for span in self._spans
        ]
        return json.dumps({"traceEvents": events})
