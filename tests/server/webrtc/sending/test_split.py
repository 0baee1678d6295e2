import itertools

import pytest

from server.webrtc.sending.rate_control import RateControl
from server.webrtc.sending.split import EVERY, PACKET_HEAD_BYTES, SOUND_PACKETS, split

PIXELS = 256 * 256


def rate(bps: float, loss: float = 0.0) -> RateControl:
    made = RateControl(10_000_000, 10_000_000)
    made.bps, made.loss = bps, loss
    return made


@pytest.mark.parametrize("kbps", range(40, 2_000, 7))
def test_the_parts_are_no_more_than_the_whole(kbps: int) -> None:
    shared = split(rate(kbps * 1_000), PIXELS)
    fps = 25 / shared.every if shared.every else 0
    sound = shared.sound_bps + SOUND_PACKETS * PACKET_HEAD_BYTES * 8
    video = shared.video_bps + fps * PACKET_HEAD_BYTES * 8 if shared.every else 0
    assert sound + video <= max(kbps * 1_000, 41_000)


def test_fewer_bits_are_fewer_pictures() -> None:
    shared = [split(rate(kbps * 1_000), 640 * 480) for kbps in range(1_500, 40, -10)]
    order = [*EVERY, 0]
    for more, less in itertools.pairwise(shared):
        if more.sound_bps == less.sound_bps:  # else sound has left some to the pictures
            assert order.index(more.every) <= order.index(less.every)
    assert (shared[0].every, shared[-1].every) == (1, EVERY[-1])


def test_at_100_kbit_a_small_picture_still_moves() -> None:
    assert split(rate(100_000), PIXELS).every in (1, 2)


def test_a_step_up_needs_more_than_the_step_takes() -> None:
    before = split(rate(100_000), PIXELS)
    higher = [split(rate(bps), PIXELS, before) for bps in (101_000, 103_000)]
    assert higher == [before, before]


@pytest.mark.fault("weak-networks")
def test_sound_carries_its_own_repair_where_packets_are_lost() -> None:
    """With loss, each sound packet also carries the one before it."""
    assert not split(rate(500_000), PIXELS).has_fec
    assert split(rate(500_000, loss=0.05), PIXELS).has_fec


def test_pictures_stop_while_the_network_drains() -> None:
    full = rate(1_000_000)
    full.is_paused = True
    assert split(full, PIXELS).every == 0
