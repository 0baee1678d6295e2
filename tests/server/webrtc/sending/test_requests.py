"""Budgets of what a client may ask of a sender."""

import pytest

from server.webrtc.sending.requests import (
    KEY_FRAME_EVERY_S,
    LARGEST_REQUEST,
    KeyFrames,
    Retransmissions,
)

SIZE = 1_000


def size_of(_: int) -> int:
    return SIZE


@pytest.mark.fault("weak-networks")
def test_each_packet_is_sent_again_once_per_round_trip() -> None:
    """A packet that is asked for many times at once is sent again once in a round trip."""
    again = Retransmissions()
    assert again.accept([7, 7, 7, 8], size_of, 0.2, 1e6, 1.0) == [7, 8]
    assert again.accept([7, 8], size_of, 0.2, 1e6, 1.1) == []
    assert again.accept([7], size_of, 0.2, 1e6, 1.21) == [7]


@pytest.mark.fault("weak-networks")
def test_what_is_sent_again_stays_within_its_budget() -> None:
    """Retransmissions take no more than their share of the bit rate, however many are asked for."""
    again = Retransmissions()
    sent, bps = 0, 80_000
    for tick in range(1_000):
        asked = range(tick * 300, tick * 300 + 300)
        sent += len(again.accept(asked, size_of, 0.05, bps, 10 + tick / 100))
    assert sent * SIZE * 8 <= 10.5 * bps
    assert again.refused > 0


def test_a_huge_request_is_read_in_part_only() -> None:
    looked_at = []
    again = Retransmissions()
    again.accept(range(5_000), lambda n: looked_at.append(n), 0.1, 1e6, 1.0)
    assert len(looked_at) == LARGEST_REQUEST


def test_packets_that_are_not_kept_cost_nothing() -> None:
    again = Retransmissions()
    assert again.accept(range(100), lambda _: None, 0.1, 8e5, 1.0) == []
    assert again.accept([1], size_of, 0.1, 8e5, 1.0) == [1]


@pytest.mark.fault("viewers")
def test_a_storm_of_key_frame_requests_makes_two_a_second() -> None:
    """However often a client asks for key frames, it gets at most two a second."""
    frames = KeyFrames()
    made = 0
    for slot in range(250):
        for _ in range(20):
            frames.ask()
        made += frames.take(slot * 0.04)
    assert 10 <= made <= 10 / KEY_FRAME_EVERY_S + 1


@pytest.mark.fault("viewers")
def test_the_first_request_is_answered_at_once_and_none_is_forgotten() -> None:
    """A viewer that asks for a key frame gets it with the next picture, or half a second later."""
    frames = KeyFrames()
    assert not frames.take(0.0)
    frames.ask()
    assert frames.take(0.04)
    frames.ask()
    assert not frames.take(0.08)
    assert frames.take(0.04 + KEY_FRAME_EVERY_S)
