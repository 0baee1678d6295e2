"""How much a speaker's items may hold, and what is said when they hold too much."""

import sys
import tracemalloc

import numpy as np
import pytest

from server.protocol.errors import ProtocolError
from server.speech.lane import MAX_FORMAT_CHANGES, MAX_ITEMS, SpeakerLane
from server.speech.pcm import PcmFormat
from server.speech.resampling import POOLED_STREAMS, StreamPool
from tests.support.speech.lane_player import LanePlayer

RATES = (8_000, 11_025, 44_099, 48_000)


def loud(ms: int, pcm: PcmFormat) -> bytes:
    return np.full(pcm.rate * ms // 1000 * pcm.channels, 9_000, "<i2").tobytes()


def refusal(call, *args) -> ProtocolError:
    with pytest.raises(ProtocolError) as refused:
        call(*args)
    return refused.value


class Made:
    """Counts the resamplers that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        take = StreamPool.take

        def counting(pool: StreamPool, rate_in: int, rate_out: int):
            self.count += (rate_in, rate_out) not in pool._free
            return take(pool, rate_in, rate_out)

        monkeypatch.setattr(StreamPool, "take", counting)


@pytest.fixture
def made(monkeypatch) -> Made:
    return Made(monkeypatch)


@pytest.mark.fault("rates")
def test_waiting_items_cost_their_bytes_and_no_resampler(made):
    """An item that waits costs its bytes and some hundred more: a resampler comes when it plays."""
    lane, pcm = SpeakerLane("ana", 60_000, 240, lambda event: None), PcmFormat(44_099)
    tracemalloc.start()
    for number in range(MAX_ITEMS):
        lane.append(loud(20, pcm), f"item {number}", pcm)
        lane.commit(None)
    cost, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.count == 0
    assert cost / MAX_ITEMS < len(loud(20, pcm)) + 1_200


@pytest.mark.fault("rates")
def test_more_items_than_are_held_are_refused_before_anything_is_made(made):
    """An item beyond the limit is refused, may be sent again, and costs nothing."""
    lane, pcm = SpeakerLane("ana", 60_000, 240, lambda event: None), PcmFormat(44_099)
    for _ in range(MAX_ITEMS):
        lane.append(b"\0\0", None, pcm)
        lane.commit(None)
    error = refusal(lane.append, b"\0\0", None, pcm)
    assert (error.code, error.retryable) == ("buffer_full", True)
    assert str(MAX_ITEMS) in str(error)
    assert made.count == 0


@pytest.mark.fault("rates")
def test_changing_rates_use_the_same_few_resamplers_again(made):
    """Items of 8, 11.025, 44.099 and 48 kHz in turn use the same resamplers again and again."""
    player = LanePlayer()
    for _ in range(20):
        for rate in RATES:
            player.say(loud(30, PcmFormat(rate)), PcmFormat(rate))
        player.play_out()
    assert made.count == 7  # 48 kHz is the output's rate
    assert len(player.lane._resamplers) <= POOLED_STREAMS


@pytest.mark.fault("rates")
def test_waiting_changes_of_the_format_are_bounded():
    """Only so many changes of the format may wait, as each may need resamplers of its own."""
    player = LanePlayer()
    for number in range(MAX_FORMAT_CHANGES + 1):
        pcm = PcmFormat(RATES[number % 4])
        player.say(loud(10, pcm), pcm)
    error = refusal(player.lane.append, loud(10, PcmFormat(9_999)), None, PcmFormat(9_999))
    assert (error.code, error.retryable) == ("buffer_full", True)
    player.say(loud(10, pcm), pcm)
    player.play_out()
    player.say(loud(10, PcmFormat(9_999)), PcmFormat(9_999))


@pytest.mark.fault("rates")
def test_several_channels_are_mixed_as_they_arrive():
    """A minute of eight channels is held as one: 4 bytes for each sample, not 16."""
    pcm = PcmFormat(48_000, 8)
    lane = SpeakerLane("ana", 60_000, 240, lambda event: None)
    lane.append(loud(1_000, pcm), None, pcm)
    held = lane._items[0].reader._mono._bytes
    assert sys.getsizeof(held) < 48_000 * 4 * 1.2


@pytest.mark.fault("pace")
def test_an_append_longer_than_the_whole_queue_is_refused_for_good():
    """An append that never fits is not retryable; the message says how long a piece may be."""
    lane = SpeakerLane("ana", 60_000, 240, lambda event: None)
    error = refusal(lane.append, loud(70_000, PcmFormat()), None, PcmFormat())
    assert (error.code, error.retryable) == ("buffer_full", False)
    assert "at most 60000 ms" in str(error)
    assert not lane.has_open_item
    lane.append(loud(59_000, PcmFormat()), None, PcmFormat())
    error = refusal(lane.append, loud(2_000, PcmFormat()), None, PcmFormat())
    assert (error.code, error.retryable) == ("buffer_full", True)
