"""The offset between two received tracks."""

import pytest
from avatar_client.stream_clock import WRAP, StreamClock, offset_by_packets_us, offset_by_reports_us

OFFSET_US = 250_000


def ntp(microseconds: int) -> int:
    return (microseconds << 32) // 1_000_000


def receive(
    seconds: float = 3.0, *, delays_us=lambda kind, n: 0, first=5_000, stall_at_s: float = 99.0
) -> tuple[StreamClock, StreamClock]:
    """Packets and reports of both tracks; video pts 0 belongs OFFSET_US after audio pts 0."""
    clocks = {}
    for kind, rate, step, later in (("audio", 48_000, 960, 0), ("video", 90_000, 3600, OFFSET_US)):
        clock = clocks[kind] = StreamClock(rate)
        for n in range(int(seconds * rate / step)):
            sent_us = n * step * 1_000_000 // rate + later
            sent_us += 400_000 if sent_us > stall_at_s * 1e6 else 0
            timestamp = (first + n * step) % WRAP
            arrived_us = 7_000_000 + sent_us + delays_us(kind, n)
            clock.packet(timestamp, arrived_us)
            if n % (rate // step) == 3:
                clock.report(ntp(10**12 + arrived_us), timestamp)
    return clocks["audio"], clocks["video"]


@pytest.mark.parametrize("offset_us", [offset_by_packets_us, offset_by_reports_us])
@pytest.mark.parametrize("first", [5_000, WRAP - 40_000])
def test_the_offset_of_two_tracks_is_found_across_the_wrap_of_their_timestamps(offset_us, first):
    assert offset_us(*receive(first=first)) == pytest.approx(OFFSET_US, abs=50)


@pytest.mark.parametrize("offset_us", [offset_by_packets_us, offset_by_reports_us])
def test_a_clock_that_stalls_for_both_tracks_moves_nothing(offset_us):
    assert offset_us(*receive(8.0, stall_at_s=3.1)) == pytest.approx(OFFSET_US, abs=50)


def test_late_packets_do_not_matter():
    late = receive(delays_us=lambda kind, n: 90_000 if kind == "audio" and n % 5 else 0)

    assert offset_by_packets_us(*late) == pytest.approx(OFFSET_US, abs=50)


def test_a_report_from_before_the_first_packet_fits():
    clocks = StreamClock(48_000), StreamClock(90_000)
    for clock in clocks:
        clock.packet(clock.rate, 0)
        for second in range(2):
            clock.report(ntp(10**12 + second * 1_000_000), second * clock.rate)

    assert offset_by_reports_us(*clocks) == 0


def test_few_packets_are_not_enough():
    assert offset_by_packets_us(*receive(0.8)) is None
    assert offset_by_reports_us(*receive(0.8)) is None
