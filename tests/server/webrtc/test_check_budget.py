"""How many checks go to hosts that never answer."""

import pytest

from server.webrtc.check_budget import ALL_AT_ONCE, CHECKS_AT_ONCE, MAX_HOSTS, CheckBudget


@pytest.mark.fault("offers")
def test_offer_after_offer_sends_a_silent_host_tens_of_packets():
    """Ten offers that name one silent host send it no more than one does."""
    checks = CheckBudget()
    assert sum(checks.take("192.0.2.1", 0.0) for _ in range(1_200)) == CHECKS_AT_ONCE
    assert sum(checks.take("192.0.2.1", 30.0) for _ in range(1_200)) <= 6


@pytest.mark.fault("offers")
def test_many_silent_hosts_share_one_budget():
    """A client that names thousands of hosts makes the server send hundreds of packets."""
    checks = CheckBudget()
    sent = sum(checks.take(f"192.0.{n // 250}.{n % 250}", 0.0) for n in range(5_000))
    assert sent == ALL_AT_ONCE
    assert not checks.take(f"198.51.100.{MAX_HOSTS}", 0.0)


def test_a_host_that_answers_is_checked_for_hours():
    checks = CheckBudget()
    checks.take("192.0.2.1", 0.0)
    checks.answered("192.0.2.1")
    assert all(checks.take("192.0.2.1", 0.0) for _ in range(5_000))
