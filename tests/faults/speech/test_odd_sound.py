"""Sound that is none, or too much of it."""

import numpy as np
import pytest

from server.playout import to_pcm16
from server.protocol.server_events import AvatarState, OutputStarted, OutputStopped
from server.speech.pcm import PcmFormat
from tests.support.speech.lane_player import LanePlayer

RATE = 24_000
TIME = np.arange(RATE) / RATE
SOUNDS = {
    "silence": np.zeros(RATE),
    "-60 dB": 33 * np.sin(2 * np.pi * 300 * TIME),
    "constant": np.full(RATE, 20_000.0),
    "clipped": 90_000 * np.sin(2 * np.pi * 300 * TIME),
    "full-scale steps": 32_767 * np.sign(np.sin(2 * np.pi * 3_000 * TIME)),
    "noise": np.random.default_rng(3).normal(0, 12_000, RATE),
    "clicks": np.where(np.arange(RATE) % 4_000 == 0, -32_768, 0),
}


@pytest.mark.fault("odd-sound")
@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("commit_every_ms", [1_000, 40])
def test_sound_of_every_kind_is_played_once_without_flapping(name, commit_every_ms):
    """Silence, hum, clipping and noise are speech like any other: one speaking, one idle."""
    pcm = np.clip(SOUNDS[name], -32_768, 32_767).astype("<i2").tobytes()
    size = 2 * RATE * commit_every_ms // 1_000
    player = LanePlayer()
    for at in range(0, len(pcm), size):
        player.say(pcm[at : at + size], PcmFormat(RATE))
    player.play_out()
    assert [e.state for e in player.of(AvatarState)] == ["speaking", "idle"]
    items = 1_000 // commit_every_ms
    assert [e.audio_end_ms for e in player.of(OutputStopped)] == [commit_every_ms] * items
    assert len(player.of(OutputStarted)) == items
    assert np.isfinite(player.model).all()
    assert np.abs(player.model).max(initial=0) <= 1
    assert np.abs(player.output).max(initial=0) <= 1


@pytest.mark.fault("odd-sound")
def test_numbers_that_are_none_become_silence_and_too_large_ones_are_clipped():
    """NaN in the mixed sound is silence, infinity the loudest sample; nothing wraps around."""
    odd = np.array([np.nan, np.inf, -np.inf, 3.0, -3.0, 0.5], np.float32)
    assert to_pcm16(odd).tolist() == [0, 32_767, -32_767, 32_767, -32_767, 16_384]
