"""Streaming audio features: does the cut matter?"""

import numpy as np
import pytest
import torch

from runtime.audio.features import (
    SpeakerAudio,
    audio_windows,
    check_encoder,
    encode_windows,
    extend,
    forget,
    gather_frames,
    log_mel,
    pad_silence,
    reaches,
    truncate,
)
from runtime.audio.windows import (
    LOOKAHEAD_SAMPLES,
    REWIND_SAMPLES,
    WINDOW_SAMPLES,
    needed_samples,
    oldest_needed_sample,
)
from runtime.errors import BadInput
from runtime.models.audio_encoder import TINY, AudioEncoder, AudioEncoderConfig
from runtime.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, SAMPLES_PER_LATENT, frames_of_latent


@pytest.fixture(scope="module")
def features():
    """The features of a latent frame, as a stream computes them."""
    torch.manual_seed(0)
    encoder = AudioEncoder(TINY).eval()

    def encode(audio, latent):
        return encode_windows(encoder, torch.from_numpy(audio_windows(audio, latent)))

    return encode


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def pushed(pcm, chunk):
    audio = SpeakerAudio()
    for start in range(0, len(pcm), chunk):
        audio = extend(audio, pcm[start : start + chunk])
    return audio


def run(features, pcm, chunk):
    """All features of a stream that forgets what it has used, as a live one does."""
    audio, results = (SpeakerAudio(),), []
    for start in range(0, len(pcm), chunk):
        audio = (extend(audio[0], pcm[start : start + chunk]),)
        while reaches(audio, needed_samples(len(results))):
            results.append(features(audio, len(results)))
            audio = forget(audio, oldest_needed_sample(len(results)))
    return torch.cat(results)


def latents_in(samples):
    """How many latent frames have all their audio."""
    return (samples - needed_samples(0)) // SAMPLES_PER_LATENT + 1


@pytest.mark.parametrize("chunk", [1, 112, 640, 5000])
def test_audio_in_chunks_gives_the_features_of_audio_at_once(features, chunk):
    pcm = noise(8000)
    assert torch.equal(run(features, pcm, chunk), run(features, pcm, len(pcm)))


def test_cuts_do_not_matter_after_old_audio_is_forgotten(features):
    pcm = noise(9 * SAMPLE_RATE)
    assert torch.equal(run(features, pcm, 5000), run(features, pcm, len(pcm)))


def test_a_latent_frame_needs_82_ms_beyond_its_last_video_frame():
    for n in (0, 1, 7):
        assert needed_samples(n) == SAMPLES_PER_FRAME * frames_of_latent(n).stop + 1320
    assert LOOKAHEAD_SAMPLES == 1320


def test_audio_after_the_needed_samples_changes_nothing(features):
    pcm = noise(needed_samples(3))
    more = np.concatenate([pcm, noise(4000, seed=1)])
    assert torch.equal(features([pushed(pcm, 999)], 3), features([pushed(more, 999)], 3))


def test_the_last_needed_audio_matters(features):
    pcm = noise(needed_samples(3))
    other = pcm.copy()
    other[-200:] *= -3.0
    assert not torch.equal(features([pushed(pcm, 999)], 3), features([pushed(other, 999)], 3))


def test_before_the_stream_there_is_silence(features):
    pcm = noise(needed_samples(2))
    late = np.concatenate([np.zeros(20 * SAMPLES_PER_LATENT, np.float32), pcm])
    assert torch.equal(features([pushed(pcm, 4000)], 2), features([pushed(late, 4000)], 22))


def test_speakers_in_one_batch_do_not_affect_each_other(features):
    one, two = pushed(noise(9000), 9000), pushed(noise(9000, seed=1), 9000)
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
    audio, n = SpeakerAudio(), 0
    for _ in range(200):
        audio = extend(audio, noise(SAMPLES_PER_LATENT))
        n = latents_in(audio.stop)
        (audio,) = forget([audio], oldest_needed_sample(n))
        assert len(audio.pcm) <= WINDOW_SAMPLES + REWIND_SAMPLES + 2 * SAMPLES_PER_LATENT
    assert audio.stop == 200 * SAMPLES_PER_LATENT


def test_rewinding_three_seconds_and_pushing_the_same_again_changes_nothing(features):
    pcm = noise(8 * SAMPLE_RATE)
    (audio,) = forget([pushed(pcm, 5000)], oldest_needed_sample(latents_in(len(pcm))))
    back = 5 * SAMPLE_RATE
    n = latents_in(back)
    again = extend(truncate(audio, back), pcm[back:])
    assert torch.equal(features([again], n), features([pushed(pcm, 5000)], n))


def test_rewound_audio_is_replaced_by_what_is_pushed_next(features):
    pcm, other = noise(20_000), noise(20_000, seed=1)
    back = 10_000
    audio = extend(truncate(pushed(pcm, 3000), back), other[back:])
    expected = np.concatenate([pcm[:back], other[back:]])
    assert torch.equal(features([audio], 6), features([pushed(expected, 20_000)], 6))


def test_silence_pads_audio_up_to_a_sample_and_leaves_longer_audio_alone():
    audio = pushed(noise(100), 100)
    assert pad_silence(audio, 150).pcm[100:].tolist() == [0.0] * 50
    assert pad_silence(audio, 50) is audio


def test_truncating_beyond_the_end_keeps_everything():
    audio = pushed(noise(100), 100)
    assert truncate(audio, 500).stop == 100


def test_an_old_value_is_not_changed_by_what_follows(features):
    old = pushed(noise(needed_samples(1)), 640)
    before = features([old], 1)
    extend(old, noise(5000, seed=2))
    truncate(old, 10)
    assert torch.equal(features([old], 1), before)


def test_asking_too_early_is_refused(features):
    with pytest.raises(BadInput, match="Push the audio first"):
        features([pushed(noise(1000), 1000)], 3)


def test_rewinding_to_forgotten_audio_is_refused():
    (audio,) = forget(
        [pushed(noise(20 * SAMPLE_RATE), 20 * SAMPLE_RATE)], oldest_needed_sample(100)
    )
    with pytest.raises(BadInput, match="Rewind by at most"):
        truncate(audio, 10)


def test_an_encoder_too_short_for_the_window_is_refused():
    short = AudioEncoderConfig(width=16, heads=2, layers=1, max_steps=50)
    with pytest.raises(BadInput, match="max_steps=50"):
        check_encoder(AudioEncoder(short))


def test_silence_and_the_faintest_noise_look_the_same():
    faint = torch.from_numpy(noise(4000)) * 1e-4
    assert torch.equal(log_mel(torch.zeros(1, 4000)), log_mel(faint[None]))
    assert log_mel(torch.zeros(1, 4000)).unique().tolist() == [-1.0]


def test_louder_audio_moves_the_log_mel_by_its_gain_alone():
    pcm = torch.from_numpy(noise(4000))[None]
    torch.testing.assert_close(log_mel(pcm * 10.0), log_mel(pcm) + 2.0 / 3.0, atol=1e-5, rtol=0.0)
