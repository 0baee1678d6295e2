import pytest

from server.webrtc.sending.sent_packets import Arrivals, SentPackets, Throughput


@pytest.mark.fault("clocks")
def test_packet_numbers_wrap() -> None:
    """Reports are understood when packet numbers wrap around."""
    sent = SentPackets()
    for n in range(100):
        sent.add((65_500 + n) % 65_536, 100 + n, n / 50)
    assert sent.size_of(65_535) == 135
    assert sent.size_of(0) == 136
    assert sent.size_of(65_499) is None
    assert sent.size_of(64) is None
    assert sent.arrived(65_530) == (0.6, 100)
    assert sent.arrived(4 + 65_536) == (0.8, 10)  # reports count the wraps
    assert sent.first_after(0.8) == pytest.approx(0.82)


def test_nothing_was_sent() -> None:
    sent = SentPackets()
    assert sent.size_of(1) is None
    assert sent.arrived(1) is None
    assert sent.first_after(0.0) is None


def test_arrivals_tell_what_a_network_carries() -> None:
    arrivals = Arrivals()
    for n in range(100):
        arrivals.add(1_000, n / 100)
    arrivals.note(0.2, 0.0, 0.5)
    assert arrivals.bps == pytest.approx(8 * 21_000 / 0.5)
    arrivals.note(0.4, 0.5, 1.0)
    assert arrivals.bps == pytest.approx(8 * 20_000 * 0.5 / 0.5)


def test_throughput_is_that_of_the_last_second() -> None:
    sent = Throughput()
    sent.add(1_000, 1.0)
    sent.add(500, 1.9)
    assert sent.bps(1.9) == 12_000
    assert sent.bps(2.5) == 4_000
    assert sent.bps(9.0) == 0
