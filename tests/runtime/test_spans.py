import json

from runtime.spans import SpanRecorder, no_spans


def test_off_costs_one_shared_object() -> None:
    assert no_spans("a") is no_spans("b")
    with no_spans("a"), no_spans("a"):
        pass


def test_a_recorder_keeps_the_newest_spans_and_exports_a_trace() -> None:
    spans = SpanRecorder(kept=2)
    for name in ("one", "two", "three"):
        with spans(name):
            pass
    assert [span.name for span in spans.spans] == ["two", "three"]
    events = json.loads(spans.chrome_trace())["traceEvents"]
    assert [event["name"] for event in events] == ["two", "three"]
    assert len(spans.drain()) == 2
    assert spans.spans == ()
