"""Items that follow at once sound like one."""

import itertools

import numpy as np
import pytest

from server.protocol.server_events import AvatarState, OutputStarted, OutputStopped
from server.speech.pcm import PcmFormat
from tests.support.speech.lane_player import LanePlayer

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 44_099, 44_100, 48_000)


def tone(rate: int, seconds: float = 0.6, start_s: float = 0.0) -> bytes:
    """A tone of 437 Hz, which no item holds a whole number of periods of."""
    time = start_s + np.arange(round(rate * seconds)) / rate
    return (0.5 * 32_767 * np.cos(2 * np.pi * 437 * time)).astype("<i2").tobytes()


def played(pieces: list[bytes], pcm: PcmFormat) -> LanePlayer:
    player = LanePlayer()
    for piece in pieces:
        player.say(piece, pcm)
    return player.play_out()


def cuts(data: bytes, how: str, frame_bytes: int) -> list[bytes]:
    """`data` cut into items, each of whole frames."""
    frames = len(data) // frame_bytes
    rng = np.random.default_rng(len(data))
    if how == "random":
        places = np.sort(rng.choice(np.arange(1, frames), 12, replace=False))
    else:
        places = np.arange(0, frames, max(1, round(frames * float(how) / 600)))[1:]
    edges = [0, *places.tolist(), frames]
    return [data[a * frame_bytes : b * frame_bytes] for a, b in itertools.pairwise(edges)]


@pytest.mark.fault("turns")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("how", ["2", "20", "37", "100", "160", "random"])
def test_items_that_follow_at_once_sound_like_one(rate, how):
    """Speech cut into items anywhere sounds bit for bit like the uncut one, to model and ear."""
    pcm = PcmFormat(rate)
    whole = played([tone(rate)], pcm)
    pieces = played(cuts(tone(rate), how, pcm.frame_bytes), pcm)
    assert np.array_equal(pieces.model, whole.model)
    assert np.array_equal(pieces.output, whole.output)


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_items_of_several_channels_sound_like_one_too(channels):
    pcm = PcmFormat(44_100, channels)
    ints = np.frombuffer(tone(44_100), "<i2")
    data = np.stack([ints // (each + 1) for each in range(channels)], axis=1).tobytes()
    whole = played([data], pcm)
    pieces = played(cuts(data, "random", pcm.frame_bytes), pcm)
    assert np.array_equal(pieces.output, whole.output)


@pytest.mark.fault("turns")
def test_an_open_item_goes_on_from_the_one_before_without_a_seam():
    """The last item need not be complete: enough of it makes the seam inaudible."""
    pcm, data = PcmFormat(24_000), tone(24_000)
    whole = played([data], pcm)
    player = LanePlayer()
    player.say(data[:12_002], pcm)
    player.lane.append(data[12_002:], None, pcm)
    for _ in range(3):
        player.tick()
    player.lane.commit(None)
    assert np.array_equal(player.play_out().output, whole.output)


@pytest.mark.fault("rates")
def test_items_of_other_rates_meet_without_a_click():
    """Items of different rates meet without a click: no step beyond that of the tone itself."""
    player, at = LanePlayer(), 0.0
    for rate in (8_000, 24_000, 11_025, 48_000, 44_099, 16_000, 22_050, 8_000):
        player.say(tone(rate, 0.1, at), PcmFormat(rate))
        at += 0.1
    inside = player.play_out().output[480:-480]
    assert len(inside) > 35_000
    assert np.abs(np.diff(inside)).max() < 0.06


@pytest.mark.fault("turns")
@pytest.mark.parametrize("ms", [2, 3, 20, 37, 40, 100, 160])
def test_an_item_stops_before_the_next_starts_and_the_state_rests(ms):
    """However short items are: stopped comes before the next started, the state changes twice."""
    player = played(cuts(tone(24_000), str(ms), 2), PcmFormat(24_000))
    kinds = (OutputStarted, OutputStopped)
    heard = [e for e in player.events if isinstance(e, kinds)]
    assert [type(e) for e in heard] == [OutputStarted, OutputStopped] * (len(heard) // 2)
    assert all(a.item_id == b.item_id for a, b in zip(heard[::2], heard[1::2], strict=True))
    assert [e.state for e in player.of(AvatarState)] == ["speaking", "idle"]
    starts = [e.media_time_ms for e in player.of(OutputStarted)]
    assert [b - a for a, b in itertools.pairwise(starts)] == pytest.approx(
        [ms] * (len(starts) - 1), abs=1
    )


@pytest.mark.fault("turns")
def test_a_pause_shorter_than_200_ms_is_no_idleness():
    """The state is idle only after 200 ms without sound, and at once after an interruption."""
    player = LanePlayer(tick_frames=1)
    for _ in range(10):
        player.say(tone(24_000, 0.04), PcmFormat(24_000))
        for _ in range(4):  # 40 ms of sound, 120 ms of silence
            player.tick()
    assert [e.state for e in player.of(AvatarState)] == ["speaking"]
    player.play_out()
    assert [e.state for e in player.of(AvatarState)] == ["speaking", "idle"]
