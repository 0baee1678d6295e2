from server.protocol.outbox import Outbox
from server.protocol.server_events import MetricsTick, Pong


def tick() -> MetricsTick:
    return MetricsTick(stages={}, frames=4, lead_ms=80, rtf=0.5)


async def test_events_come_out_in_order():
    outbox = Outbox(10)
    for number in range(3):
        outbox.put(Pong(event_id=str(number)))
    assert [(await outbox.get()).event_id for _ in range(3)] == ["0", "1", "2"]


def test_metrics_give_way_before_other_events():
    dropped = []
    outbox = Outbox(4, lambda: dropped.append(1))
    for _ in range(5):
        outbox.put(tick())
    outbox.put(Pong())
    assert [type(each) for each in outbox.drain()] == [MetricsTick, MetricsTick, Pong]
    assert not dropped


def test_a_reader_that_is_gone_for_long_misses_the_oldest_events_and_it_is_counted():
    dropped = []
    outbox = Outbox(2, lambda: dropped.append(1))
    for number in range(5):
        outbox.put(Pong(event_id=str(number)))
    assert [each.event_id for each in outbox.drain()] == ["3", "4"]
    assert len(dropped) == 3
