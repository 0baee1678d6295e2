"""Spans of the pipeline's stages."""

from runtime.spans import Span, SpanRecorder


def test_a_recorder_keeps_the_newest_spans() -> None:
    spans = SpanRecorder(kept=2)
    spans.record(("one", "two", "three"), (0, 1_000_000, 3_000_000, 6_000_000))
    newest = (Span("two", 1_000_000, 2_000_000), Span("three", 3_000_000, 3_000_000))
    assert spans.drain() == newest
    assert spans.drain() == ()


def test_milliseconds_are_summed_by_stage() -> None:
    spans = SpanRecorder()
    spans.record(("one", "two"), (0, 1_000_000, 3_000_000))
    spans.record(("one",), (9_000_000, 9_500_000))
    assert spans.drain_ms() == {"one": 1.5, "two": 2.0}
    assert spans.drain_ms() == {}
