"""The rate of a session over links of every kind, in simulated time."""

import pytest

from server.webrtc.sending.rate_control import LOWEST_BPS, RateControl, Report
from tests.support.network.link import Link
from tests.support.serving.simulated_viewer import SimulatedViewer

FREE_S, WEAK_S = 10, 60
CLEAN = Report(waited_s=0.02, way_s=0.04, lost_share=0.0, jitter_s=0.0, packets=50)


def weak_then_free(bps: float, queue_bytes: int = 16_000) -> tuple[SimulatedViewer, float, float]:
    """A link that is free, then weak for a minute, then free again; when each change was."""
    viewer = SimulatedViewer(Link(queue_bytes=queue_bytes))
    viewer.run(FREE_S)
    weak_at = viewer.now
    viewer.down.bps = bps
    viewer.run(WEAK_S)
    free_at = viewer.now
    viewer.down.bps = None
    viewer.run(FREE_S)
    return viewer, weak_at, free_at


@pytest.mark.fault("weak-networks")
@pytest.mark.parametrize("queue_bytes", [4_000, 16_000, 64_000])
def test_delay_does_not_grow_at_100_kbit(queue_bytes: int) -> None:
    """At 100 kbit/s for a minute the delay grows by less than a second."""
    viewer, weak_at, free_at = weak_then_free(100_000, queue_bytes)
    assert viewer.longest_delay_s(viewer.sounds, weak_at, free_at) < 1.0
    late = sorted(at - sent for at, sent in viewer.pictures if weak_at + 5 <= at < free_at)
    assert late[int(0.95 * len(late))] < 1.0  # the others were sent again
    assert viewer.pictures_a_second(weak_at + 5, free_at) > 12


@pytest.mark.fault("weak-networks")
def test_pictures_are_back_five_seconds_after_the_network() -> None:
    """When a network is free again, every picture is sent within five seconds."""
    viewer, _, free_at = weak_then_free(100_000)
    assert viewer.pictures_a_second(free_at + 5, free_at + FREE_S) > 24
    assert viewer.longest_delay_s(viewer.pictures, free_at + 1, free_at + FREE_S) < 0.2


@pytest.mark.fault("weak-networks")
def test_a_weak_network_is_told_and_its_end_too() -> None:
    """The client is told once that its network is weak, and once that it is good again."""
    viewer, weak_at, free_at = weak_then_free(100_000)
    (told_at, is_weak), (good_at, is_still_weak) = viewer.weak
    assert (is_weak, is_still_weak) == (True, False)
    assert weak_at < told_at < weak_at + 5
    assert good_at > free_at


@pytest.mark.fault("weak-networks")
@pytest.mark.parametrize("kbps", [100, 200, 300, 500])
def test_what_is_sent_fits_into_the_link(kbps: int) -> None:
    """A weak network gets what it carries, not more: few packets are lost."""
    viewer = SimulatedViewer(Link(kbps * 1_000))
    viewer.run(WEAK_S)
    assert viewer.down.dropped < 0.03 * viewer.down.sent
    assert viewer.pictures_a_second(viewer.now - 40, viewer.now) > 12


@pytest.mark.fault("weak-networks")
@pytest.mark.parametrize(("loss", "pictures"), [(0.05, 24), (0.25, 20)])
def test_loss_that_is_not_ours_takes_no_bits(loss: float, pictures: int) -> None:
    """Loss that does not come from too much traffic costs no bit rate: 25 % is survived."""
    viewer = SimulatedViewer(Link(loss=loss))
    viewer.run(WEAK_S)
    assert viewer.pictures_a_second(viewer.now - 50, viewer.now) > pictures
    assert viewer.sender.rate.bps > 500_000
    assert not any(is_weak for _, is_weak in viewer.weak)


@pytest.mark.fault("weak-networks")
def test_jitter_is_not_taken_for_too_much_traffic() -> None:
    """Jitter of 300 ms changes neither bit rate nor picture rate."""
    viewer = SimulatedViewer(Link(jitter_s=0.3))
    viewer.run(WEAK_S)
    assert viewer.pictures_a_second(viewer.now - 50, viewer.now) > 24
    assert not viewer.weak


@pytest.mark.fault("weak-networks")
def test_sound_goes_before_pictures() -> None:
    """Where not even small pictures fit, sound goes on alone and in time."""
    viewer, _, free_at = weak_then_free(50_000)
    late = [at - sent for at, sent in viewer.sounds if free_at - 30 < at < free_at]
    assert len(late) > 30 * 50 * 0.95
    assert max(late) < 1.0


@pytest.mark.fault("weak-networks")
def test_a_satellite_is_no_weak_network() -> None:
    """A delay of 600 ms from the start is no reason to send less."""
    viewer = SimulatedViewer(Link(delay_s=0.3), Link(delay_s=0.3))
    viewer.run(20)
    assert viewer.sender.rate.bps > 500_000
    assert not viewer.weak
    assert viewer.pictures_a_second(viewer.now - 10, viewer.now) > 24


def test_a_client_that_reports_nothing_any_more_gets_little() -> None:
    rate = RateControl(1_000_000, 1_500_000)
    rate.on_report(CLEAN, 230_000, 230_000, 1.0)
    for tick in range(200):
        rate.on_time(1.0 + tick / 10)
    assert rate.bps == LOWEST_BPS


def test_the_rate_never_leaves_its_bounds_whatever_is_reported() -> None:
    rate = RateControl(1_000_000, 1_500_000)
    for n in range(200):
        rate.on_report(Report(n % 7 / 3, n % 3 / 2, n % 5 / 4, n % 3, n), n * 1e4, n * 1e5, n / 5)
        rate.on_estimate(n % 11 * 1e5)
        assert LOWEST_BPS <= rate.bps <= 1_500_000


def test_an_estimate_of_what_is_sent_takes_no_bits() -> None:
    rate = RateControl(1_000_000, 1_500_000)
    for now in range(1, 20):
        rate.on_report(CLEAN, 60_000, 60_000, float(now))
        rate.on_estimate(6_000)  # a still picture: hardly any video is sent
    assert rate.bps >= 1_000_000
