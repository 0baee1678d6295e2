"""Streaming audio features: does the cut matter?"""

import numpy as np
import pytest
import torch

from runtime.audio.features import (
    LOOKAHEAD_SAMPLES,
    REWIND_SAMPLES,
    WINDOW_SAMPLES,
    AudioFeatures,
    HeardAudio,
    extend,
    forget,
    gather_frames,
    log_mel,
    needed_samples,
    ready_latents,
    truncate,
)
from runtime.errors import BadInput
from runtime.models.audio_encoder import TINY, AudioEncoder, AudioEncoderConfig
from runtime.timing import SAMPLE_RATE, SAMPLES_PER_LATENT, frames_of_latent, samples_of_frame


@pytest.fixture(scope="module")
def features():
    torch.manual_seed(0)
    return AudioFeatures(AudioEncoder(TINY).eval())


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def hear(pcm, chunk):
    heard = HeardAudio()
    for start in range(0, len(pcm), chunk):
        heard = extend(heard, pcm[start : start + chunk])
    return heard


def run(features, pcm, chunk):
    """All features of a stream that forgets what it has used, as a live one does."""
    heard, results = HeardAudio(), []
    for start in range(0, len(pcm), chunk):
        heard = extend(heard, pcm[start : start + chunk])
        while heard.stop >= needed_samples(len(results)):
            results.append(features([heard], len(results)))
            heard = forget(heard, len(results))
    return torch.cat(results)


@pytest.mark.parametrize("chunk", [1, 112, 640, 5000])
def test_hearing_in_chunks_equals_hearing_at_once(features, chunk):
    pcm = noise(8000)
    assert torch.equal(run(features, pcm, chunk), run(features, pcm, len(pcm)))


def test_cuts_do_not_matter_after_old_sound_is_forgotten(features):
    pcm = noise(9 * SAMPLE_RATE)
    assert torch.equal(run(features, pcm, 5000), run(features, pcm, len(pcm)))


def test_a_latent_frame_needs_82_ms_beyond_its_last_video_frame():
    for n in (0, 1, 7):
        assert needed_samples(n) == samples_of_frame(frames_of_latent(n)[-1]).stop + 1320
    assert LOOKAHEAD_SAMPLES == 1320


def test_ready_latents_counts_those_that_can_be_heard():
    assert ready_latents(needed_samples(0) - 1) == 0
    assert ready_latents(needed_samples(0)) == 1
    assert ready_latents(needed_samples(5) - 1) == 5
    assert ready_latents(needed_samples(5)) == 6


def test_sound_after_the_needed_samples_changes_nothing(features):
    pcm = noise(needed_samples(3))
    more = np.concatenate([pcm, noise(4000, seed=1)])
    assert torch.equal(features([hear(pcm, 999)], 3), features([hear(more, 999)], 3))


def test_the_last_needed_sound_matters(features):
    pcm = noise(needed_samples(3))
    other = pcm.copy()
    other[-200:] *= -3.0
    assert not torch.equal(features([hear(pcm, 999)], 3), features([hear(other, 999)], 3))


def test_before_the_stream_there_is_silence(features):
    pcm = noise(needed_samples(2))
    late = np.concatenate([np.zeros(20 * SAMPLES_PER_LATENT, np.float32), pcm])
    assert torch.equal(features([hear(pcm, 4000)], 2), features([hear(late, 4000)], 22))


def test_speakers_in_one_batch_hear_only_themselves(features):
    one, two = hear(noise(9000), 9000), hear(noise(9000, seed=1), 9000)
    both = features([one, two], 2)
    assert both.shape == (2, 4, 10, 5, 64)
    torch.testing.assert_close(both[:1], features([one], 2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[1:], features([two], 2), atol=1e-5, rtol=1e-4)


def test_frames_of_a_latent_frame_overlap_as_in_the_release():
    states = torch.arange(100.0).reshape(1, 100, 1, 1)
    frames = gather_frames(states, 4)[0, :, :, 0, 0]
    assert frames[3].tolist() == list(range(90, 100))
    assert frames[2].tolist() == list(range(88, 98))


def test_memory_of_a_long_stream_is_bounded():
    heard, n = HeardAudio(), 0
    for _ in range(200):
        heard = extend(heard, noise(SAMPLES_PER_LATENT))
        n = ready_latents(heard.stop)
        heard = forget(heard, n)
        assert len(heard.pcm) <= WINDOW_SAMPLES + REWIND_SAMPLES + 2 * SAMPLES_PER_LATENT
    assert heard.stop == 200 * SAMPLES_PER_LATENT


def test_rewinding_three_seconds_and_hearing_the_same_again_changes_nothing(features):
    pcm = noise(8 * SAMPLE_RATE)
    heard = forget(hear(pcm, 5000), ready_latents(len(pcm)))
    back = 5 * SAMPLE_RATE
    n = ready_latents(back)
    again = extend(truncate(heard, back), pcm[back:])
    assert torch.equal(features([again], n), features([hear(pcm, 5000)], n))


def test_rewound_sound_is_replaced_by_what_is_said_next(features):
    pcm, other = noise(20_000), noise(20_000, seed=1)
    back = 10_000
    heard = extend(truncate(hear(pcm, 3000), back), other[back:])
    said = np.concatenate([pcm[:back], other[back:]])
    assert torch.equal(features([heard], 6), features([hear(said, 20_000)], 6))


def test_truncating_beyond_the_end_keeps_everything():
    heard = hear(noise(100), 100)
    assert truncate(heard, 500).stop == 100


def test_an_old_state_is_not_changed_by_what_follows(features):
    old = hear(noise(needed_samples(1)), 640)
    before = features([old], 1)
    extend(old, noise(5000, seed=2))
    truncate(old, 10)
    assert torch.equal(features([old], 1), before)


def test_asking_too_early_is_refused(features):
    with pytest.raises(BadInput, match="Push the sound first"):
        features([hear(noise(1000), 1000)], 3)


def test_going_back_to_forgotten_sound_is_refused():
    heard = forget(hear(noise(20 * SAMPLE_RATE), 20 * SAMPLE_RATE), 100)
    with pytest.raises(BadInput, match="Rewind by at most"):
        truncate(heard, 10)


def test_an_encoder_too_short_for_the_window_is_refused():
    short = AudioEncoderConfig(width=16, heads=2, layers=1, max_steps=50)
    with pytest.raises(BadInput, match="max_steps=50"):
        AudioFeatures(AudioEncoder(short))


def test_silence_and_the_faintest_noise_look_the_same():
    faint = torch.from_numpy(noise(4000)) * 1e-4
    assert torch.equal(log_mel(torch.zeros(1, 4000)), log_mel(faint[None]))
    assert log_mel(torch.zeros(1, 4000)).unique().tolist() == [-1.0]


def test_a_louder_sound_moves_the_log_mel_by_its_gain_alone():
    pcm = torch.from_numpy(noise(4000))[None]
    torch.testing.assert_close(log_mel(pcm * 10.0), log_mel(pcm) + 2.0 / 3.0, atol=1e-5, rtol=0.0)
