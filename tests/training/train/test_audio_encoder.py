"""Training the audio encoder, at a size of seconds."""

import numpy as np
import pytest
import torch

from runtime.audio.features import SpeakerAudio, audio_windows, encode_windows
from training.data.audio_windows import mouths_ending_with, window_ending_with, windows_of_track
from training.scores.audio_scores import score_mouth
from training.train.audio_encoder import Recipe, Trainer, learning_rate
from training.voices.mouth_curves import JAW, PRESS


def moving_mouth(frames=200):
    mouth = np.zeros((frames, 6), np.float32)
    t = np.arange(100)
    mouth[50:150, JAW] = 0.5 - 0.5 * np.cos(t * 0.9)
    mouth[60:150:20, JAW] = 0.0
    mouth[60:150:20, PRESS] = 1.0
    return mouth


def test_the_true_mouth_scores_perfectly():
    mouth = moving_mouth()
    scores = score_mouth(mouth, mouth)
    assert (scores.jaw, scores.lag, scores.press_f1) == (1.0, 0, 1.0)
    assert (scores.closed, scores.silent, scores.amplitude) == (0.0, 0.0, 1.0)


def test_a_late_mouth_has_a_positive_lag():
    mouth = moving_mouth()
    assert score_mouth(np.roll(mouth, 2, axis=0), mouth).lag == 2


def test_a_mouth_that_opens_in_silence_is_noticed():
    mouth = moving_mouth()
    restless = mouth.copy()
    restless[:40, JAW] = 0.3
    assert score_mouth(restless, mouth).silent > 0.2


def test_training_windows_are_those_of_a_stream():
    torch.manual_seed(0)
    pcm = np.random.default_rng(0).standard_normal(40_000).astype(np.float32) * 0.1
    trainer = Trainer(Recipe(tracks=3))
    encoder = trainer.listener.encoder.eval()
    for latent in (1, 9):
        window = torch.from_numpy(window_ending_with(pcm, 4 * latent))[None]
        live = torch.from_numpy(audio_windows([SpeakerAudio(0, pcm)], latent))
        assert torch.equal(encode_windows(encoder, window), encode_windows(encoder, live))


def test_the_windows_of_a_track_cover_all_its_frames():
    pcm = np.arange(640 * 10, dtype=np.float32) / 6400
    windows = windows_of_track(pcm)
    assert len(windows) == 2
    assert np.array_equal(windows[1], window_ending_with(pcm, 7))


def test_before_a_track_the_mouth_is_shut():
    mouth = np.ones((5, 6), np.float32)
    rows = mouths_ending_with(mouth, 2, 10)
    assert not rows[:7].any()
    assert rows[7:].all()


def test_the_learning_rate_rises_then_falls():
    recipe = Recipe(iterations=1000, warmup=100)
    rates = [learning_rate(recipe, i) for i in (0, 99, 500, 999)]
    assert rates[0] < rates[1] == pytest.approx(recipe.peak_lr)
    assert rates[1] > rates[2] > rates[3] > 0


@pytest.mark.slow
def test_a_resumed_run_continues_where_it_stopped(tmp_path):
    trainer = Trainer(Recipe(tracks=3, windows=2))
    trainer.pool.fill(trainer.rng, 3)
    losses = [trainer.step() for _ in range(4)]
    assert np.isfinite(losses).all()
    trainer.save(tmp_path / "last.pt")
    resumed = Trainer(Recipe(tracks=3, windows=2))
    resumed.load(tmp_path / "last.pt")
    resumed.pool.tracks = trainer.pool.tracks
    assert resumed.iteration == 4
    assert resumed.step() == pytest.approx(trainer.step(), rel=1e-4)


def test_a_run_goes_on_from_a_file_that_holds_no_code(tmp_path):
    trainer, resumed = Trainer(Recipe(tracks=3)), Trainer(Recipe(tracks=3, seed=7))
    trainer.rng.random(3)
    trainer.iteration = 5
    trainer.save(tmp_path / "last.pt")
    resumed.load(tmp_path / "last.pt")
    assert resumed.iteration == 5
    assert resumed.rng.random() == trainer.rng.random()
