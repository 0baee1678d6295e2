"""Synthetic speech with the mouth that says it."""

import numpy as np
import pytest

from runtime.errors import NotFound
from training.voices import espeak, flite
from training.voices.augment import augment
from training.voices.catalogue import ESPEAK_VOICES, FLITE_VOICES, Voice
from training.voices.mouth_curves import JAW, PRESS
from training.voices.sentences import pseudo_sentence, sentence, split_of
from training.voices.speech import Manner, make_track, resample, synthesize

ESPEAK = Voice("espeak", "en-us")
FLITE = Voice("flite", "rms")


def loudness(pcm):
    return np.sqrt((pcm.reshape(-1, 640) ** 2).mean(axis=1))


@pytest.mark.parametrize("voice", [ESPEAK, FLITE])
def test_an_utterance_has_one_mouth_for_every_40_ms_of_sound(voice):
    said = synthesize("My mother bought a blue umbrella.", voice)
    assert len(said.pcm) == 640 * len(said.mouth)
    assert said.pcm.dtype == said.mouth.dtype == np.float32
    assert np.abs(said.pcm).max() <= 1.0


@pytest.mark.parametrize("voice", [ESPEAK, FLITE])
def test_the_mouth_opens_when_it_is_loud(voice):
    said = [
        synthesize(text, voice)
        for text in (
            "Bob and Emma talked about apples, popcorn and bubbles.",
            "The old baker opened a bottle of water near the river.",
            "Seven happy people took a boat to the village museum.",
        )
    ]
    loud = np.log10(np.concatenate([loudness(one.pcm) for one in said]) + 1e-3)
    jaw = np.concatenate([one.mouth[:, JAW] for one in said])
    by_lag = [np.corrcoef(np.roll(loud, lag), jaw)[0, 1] for lag in range(-3, 4)]
    assert np.argmax(by_lag) == 3
    assert max(by_lag) > 0.55


@pytest.mark.parametrize("voice", [ESPEAK, FLITE])
def test_lips_close_for_every_m_b_and_p(voice):
    said = synthesize("Mama. Papa. Baby.", voice)
    pressed = said.mouth[:, PRESS] > 0.9
    closures = int((pressed[1:] & ~pressed[:-1]).sum())
    assert closures == 6
    assert said.mouth[pressed, JAW].max() < 0.1


@pytest.mark.parametrize("voice", [ESPEAK, FLITE])
def test_an_utterance_begins_and_ends_with_a_shut_mouth(voice):
    said = synthesize("Apples are everywhere.", voice)
    assert not said.mouth[0].any()
    assert not said.mouth[-1].any()


def test_the_closure_of_a_voiceless_stop_belongs_to_it():
    spoken = espeak.speak("happy", "en-us")
    stop = next(p for p in spoken.phonemes if p.symbol.startswith("p"))
    closure = spoken.pcm[stop.start : stop.start + spoken.rate // 50]
    assert np.abs(closure).max() < 0.01
    assert (stop.stop - stop.start) / spoken.rate > 0.06


def test_phonemes_follow_each_other_without_overlap():
    for spoken in (espeak.speak("One, two; three!"), flite.speak("One, two; three!")):
        for before, after in zip(spoken.phonemes, spoken.phonemes[1:], strict=False):
            assert before.start < before.stop <= after.start
        assert 0 <= spoken.phonemes[0].start < spoken.phonemes[-1].stop <= len(spoken.pcm)


def test_an_unknown_espeak_voice_is_not_replaced_by_the_last_one():
    espeak.speak("Hello.", "en-us")
    with pytest.raises(NotFound, match="no voice 'en-us\\+nobody'"):
        espeak.speak("Hello.", "en-us+nobody")


def test_speaking_faster_takes_less_time_and_a_smaller_throat_does_not():
    def seconds(manner):
        return len(synthesize("The village museum is open.", ESPEAK, manner).pcm) / 16_000

    assert seconds(Manner(wpm=210)) < 0.8 * seconds(Manner(wpm=130))
    usual = seconds(Manner())
    assert seconds(Manner(throat=1.12)) == pytest.approx(usual, rel=0.12)


def test_a_track_is_as_long_as_asked():
    pcm, mouth = make_track(np.random.default_rng(3), 12.0, "train", engines="espeak")
    assert len(pcm) == 12 * 16_000
    assert mouth.shape == (300, 6)


def test_every_training_voice_exists():
    for voice in (*ESPEAK_VOICES["train"][::20], *ESPEAK_VOICES["test"]):
        assert len(espeak.speak("a", voice.name).pcm)


def test_a_track_has_speech_and_silence_with_a_shut_mouth():
    pcm, mouth = make_track(np.random.default_rng(3), 12.0, "train", silent_share=0.0)
    assert mouth[:, JAW].max() > 0.6
    quiet = np.convolve(loudness(pcm) > 1e-4, np.ones(9), mode="same") == 0
    assert quiet.any()
    assert not mouth[quiet].any()


def test_a_track_can_be_silent_altogether():
    pcm, mouth = make_track(np.random.default_rng(0), 3.0, "train", silent_share=1.0)
    assert not pcm.any()
    assert not mouth.any()


def test_voices_and_texts_of_the_splits_are_disjoint():
    for voices in (ESPEAK_VOICES, FLITE_VOICES):
        assert not set(voices["train"]) & set(voices["test"])
    kept_apart = {voice.name.split("+")[1] for voice in ESPEAK_VOICES["test"]}
    heard = {voice.name.split("+")[1] for voice in ESPEAK_VOICES["train"]}
    assert not kept_apart & heard
    rng = np.random.default_rng(0)
    for make in (sentence, pseudo_sentence):
        for split in ("train", "test"):
            assert all(split_of(make(rng, split)) == split for _ in range(50))


def test_sentences_rarely_repeat():
    rng = np.random.default_rng(0)
    assert len({sentence(rng, "train") for _ in range(200)}) > 180


def test_a_resampled_tone_keeps_its_shape():
    t = np.arange(22_050) / 22_050
    tone = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(resample(tone, 16_000), wanted, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_augmented_speech_is_neither_moved_nor_out_of_range(seed):
    said = synthesize("Bob and Emma talked about popcorn.", ESPEAK)
    heard = augment(said.pcm, np.random.default_rng(seed))
    assert heard.shape == said.pcm.shape
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1.0
    by_lag = [
        np.corrcoef(np.roll(loudness(heard), lag), loudness(said.pcm))[0, 1] for lag in range(-3, 4)
    ]
    assert np.argmax(by_lag) == 3


def test_augmentation_puts_noise_where_there_was_silence():
    silence = np.zeros(16_000, np.float32)
    noisy = [augment(silence, np.random.default_rng(seed)).any() for seed in range(20)]
    assert 8 <= sum(noisy) <= 18
