"""Latency spans of the pipeline's stages. A stream without a `SpanRecorder` records nothing."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

KEPT_SPANS = 20_000


@dataclass(frozen=True, slots=True)
class Span:
    """A stage that ran from `start_ns` (of `time.perf_counter_ns`) for `duration_ns`."""

    name: str
    start_ns: int
    duration_ns: int


class SpanRecorder:
    """Keeps the newest spans, for percentiles."""

    def __init__(self, kept: int = KEPT_SPANS) -> None:
        self._spans: deque[Span] = deque(maxlen=kept)

    def record(self, stages: Sequence[str], times_ns: Sequence[int]) -> None:
        """Adds consecutive stages: stage i ran from times_ns[i] to times_ns[i + 1]."""
        for name, (start, stop) in zip(stages, pairwise(times_ns), strict=True):
            self._spans.append(Span(name, start, stop - start))

    def drain(self) -> tuple[Span, ...]:
        """The kept spans; they are forgotten."""
        spans = tuple(self._spans)
        self._spans.clear()
        return spans

    def drain_ms(self) -> dict[str, float]:
        """Milliseconds by stage, summed over the kept spans; they are forgotten."""
        totals: dict[str, float] = {}
        for span in self._spans:
            totals[span.name] = totals.get(span.name, 0.0) + span.duration_ns / 1e6
        self._spans.clear()
        return totals
