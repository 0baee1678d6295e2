"""Speech with the mouth that says it, made here: no recordings, any amount.

`make_track(rng, seconds, split)` is what the trainers use: sentences of one voice with natural
pauses, and the true mouth of every video frame.

    pcm, mouth = make_track(np.random.default_rng(7), seconds=20.0, split="train")
    pcm = augment(pcm, rng)          # levels, rooms, noise; the mouth stays as it is
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from runtime.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, frames_for_samples
from training.voices import espeak, flite
from training.voices.augment import augment
from training.voices.catalogue import Engines, Voice, random_voice
from training.voices.espeak import Spoken
from training.voices.mouth_curves import MOUTH_COLUMNS, Phoneme, mouth_curves, visemes_of
from training.voices.sentences import Split, pseudo_sentence, sentence

__all__ = ["Utterance", "augment", "make_track", "synthesize", "utterance"]

_MARGIN = 3 * SAMPLES_PER_FRAME  # silence around an utterance, in which its mouth opens and shuts
_SPEECH_RMS = 0.08
_VOWEL_JAW = 0.3  # sounds that open the jaw wider than this are weighed by their loudness


@dataclass(frozen=True, slots=True)
class Utterance:
    """pcm (N,) float32 16 kHz with N = 640 F, mouth (F, 6) in MOUTH_COLUMNS, and where from."""

    pcm: NDArray[np.float32]
    mouth: NDArray[np.float32]
    voice: Voice
    text: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How a voice speaks. `throat` > 1 is a smaller speaker: pitch and formants up together."""

    wpm: int = 170
    pitch: int = 50
    pitch_range: int = 50
    throat: float = 1.0


def resample(pcm: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The same sound in `samples` samples, band-limited, by cutting or padding its spectrum."""
    if len(pcm) in (0, samples):
        return np.zeros(samples, np.float32) if not len(pcm) else pcm.astype(np.float32)
    spectrum = np.fft.rfft(pcm)
    resized = np.zeros(samples // 2 + 1, spectrum.dtype)
    kept = min(len(spectrum), len(resized))
    resized[:kept] = spectrum[:kept]
    return (np.fft.irfft(resized, samples) * (samples / len(pcm))).astype(np.float32)


def synthesize(text: str, voice: Voice, manner: Manner = Manner()) -> Utterance:
    """`text` spoken by `voice`, with its mouth, at a level of -22 dBFS."""
    wpm = manner.wpm / manner.throat  # played faster by `throat`
    if voice.engine == "espeak":
        spoken = espeak.speak(
            text, voice.name, wpm=round(wpm), pitch=manner.pitch, pitch_range=manner.pitch_range
        )
    else:
        spoken = flite.speak(text, voice.name, stretch=min(1.6, max(0.6, 170 / wpm)))
    return _as_utterance(spoken, voice, text, manner.throat)


def _as_utterance(spoken: Spoken, voice: Voice, text: str, throat: float) -> Utterance:
    """16 kHz, margins, level and mouth for raw speech played `throat` times as fast."""
    scale = SAMPLE_RATE / (spoken.rate * throat)
    body = resample(spoken.pcm, round(len(spoken.pcm) * scale))
    frames = frames_for_samples(len(body) + 2 * _MARGIN)
    pcm = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    pcm[_MARGIN : _MARGIN + len(body)] = body
    phonemes = [
        replace(p, start=round(p.start * scale) + _MARGIN, stop=round(p.stop * scale) + _MARGIN)
        for p in spoken.phonemes
    ]
    phonemes = _with_effort(phonemes, pcm)
    loud = pcm[np.abs(pcm) > 0.01]
    level = float(np.sqrt(np.mean(loud**2))) if len(loud) else 1.0
    pcm = np.clip(pcm * (_SPEECH_RMS / level), -1.0, 1.0)
    return Utterance(pcm, mouth_curves(phonemes, SAMPLE_RATE, frames), voice, text)


def _with_effort(phonemes: list[Phoneme], pcm: NDArray[np.float32]) -> list[Phoneme]:
    """Phonemes whose vowels open the jaw by up to 20 % more or less, as loud as they are spoken."""
    energy = np.concatenate([[0.0], np.cumsum(pcm.astype(np.float64) ** 2)])
    rms = [np.sqrt((energy[p.stop] - energy[p.start]) / max(1, p.stop - p.start)) for p in phonemes]
    vowels = [
        loud
        for p, loud in zip(phonemes, rms, strict=True)
        if loud > 0 and any(v.jaw > _VOWEL_JAW for v in visemes_of(p.symbol))
    ]
    usual = float(np.median(vowels)) if vowels else 1.0
    return [
        replace(p, effort=float(np.clip(1.0 + 0.12 * np.log2(max(loud, 1e-6) / usual), 0.8, 1.2)))
        for p, loud in zip(phonemes, rms, strict=True)
    ]


def random_manner(rng: Generator) -> Manner:
    """Speed, pitch and size of a speaker."""
    return Manner(
        wpm=int(rng.integers(120, 221)),
        pitch=int(rng.integers(15, 85)),
        pitch_range=int(rng.integers(25, 85)),
        throat=float(np.exp(rng.uniform(-0.11, 0.13))),
    )


def utterance(rng: Generator, split: Split, voice: Voice, manner: Manner) -> Utterance:
    """A fresh text of the split in that voice."""
    text = sentence(rng, split) if voice.speaks_english else pseudo_sentence(rng, split)
    return synthesize(text, voice, manner)


def make_track(
    rng: Generator,
    seconds: float,
    split: Split,
    *,
    engines: Engines = "all",
    silent_share: float = 0.03,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One voice speaking for about `seconds`: pcm (640 F,) float32 16 kHz, mouth (F, 6) float32.

    Sentences with pauses of 0.1 to 2 s between, silence before and after; now and then a track
    is silent altogether. What is not speech is digital silence: `augment` adds the noise.
    """
    frames = round(seconds * SAMPLE_RATE / SAMPLES_PER_FRAME)
    pcm = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    mouth = np.zeros((frames, len(MOUTH_COLUMNS)), np.float32)
    if rng.random() < silent_share:
        return pcm, mouth
    voice, manner = random_voice(rng, split, engines), random_manner(rng)
    at, misfits = int(rng.integers(2, 25)), 0
    while misfits < 4:
        said = utterance(rng, split, voice, manner)
        stop = at + len(said.mouth)
        if stop > frames:
            misfits += 1
            continue
        pcm[at * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME] = said.pcm
        mouth[at:stop] = said.mouth
        at = stop + int(rng.integers(1, 12) if rng.random() < 0.7 else rng.integers(12, 50))
    return pcm, mouth
