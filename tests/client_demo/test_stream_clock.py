"""RTP timestamps on the sender's clock."""

import pytest

from client_demo.stream_clock import WRAP, StreamClock


def ntp(seconds: float) -> int:
    return round(seconds * (1 << 32))


def test_pts_follow_the_senders_clock():
    clock = StreamClock(48_000)
    clock.packet(1_000_000)
    clock.report(ntp(50.0), 1_000_000 + 24_000)

    assert clock.sent_us(0) == pytest.approx(49_500_000, abs=1)
    assert clock.sent_us(48_000) == pytest.approx(50_500_000, abs=1)


def test_two_tracks_keep_their_offset():
    audio, video = StreamClock(48_000), StreamClock(90_000)
    audio.packet(5)
    video.packet(77_000)
    audio.report(ntp(10.0), 5)
    video.report(ntp(11.25), 77_000 + 90_000)

    assert video.start_us() - audio.start_us() == pytest.approx(250_000, abs=2)


def test_a_report_across_the_wrap_of_the_timestamp_fits():
    clock = StreamClock(90_000)
    clock.packet(WRAP - 90_000)
    clock.report(ntp(20.0), 0)

    assert clock.start_us() == pytest.approx(19_000_000, abs=1)


def test_a_report_from_before_the_first_packet_fits():
    clock = StreamClock(90_000)
    clock.packet(90_000)
    clock.report(ntp(20.0), 0)

    assert clock.start_us() == pytest.approx(21_000_000, abs=1)


def test_late_reports_do_not_move_the_clock():
    clock = StreamClock(48_000)
    clock.packet(0)
    for second in range(9):
        clock.report(ntp(100 + second + (0.2 if second in (0, 4, 5) else 0.0)), 48_000 * second)

    assert clock.start_us() == pytest.approx(100_000_000, abs=1)


def test_the_clock_is_known_after_two_reports():
    clock = StreamClock(48_000)
    clock.packet(0)
    clock.report(ntp(1.0), 0)
    assert not clock.is_known
    clock.report(ntp(2.0), 48_000)
    assert clock.is_known


def test_without_a_report_the_clock_is_unknown():
    clock = StreamClock(48_000)
    clock.packet(0)

    assert not clock.is_known
    with pytest.raises(LookupError, match="no sender report"):
        clock.start_us()
