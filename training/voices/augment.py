"""What microphones, rooms and lines do to speech. The mouth that spoke is not moved by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from runtime.timing import SAMPLE_RATE

Pcm = NDArray[np.float32]
Wave = NDArray[np.floating[Any]]


def augment(pcm: Pcm, rng: Generator) -> Pcm:
    """`pcm` (N,) float32 16 kHz as another room and microphone would hear it, same length.

    Every effect is applied to some of the tracks; nothing is delayed. Silence becomes noise in
    about two tracks of three.
    """
    heard: Wave = pcm.astype(np.float64)
    if rng.random() < 0.6:
        heard = equalize(heard, rng)
    if rng.random() < 0.35:
        heard = reverberate(heard, rng)
    if rng.random() < 0.65:
        heard = heard + noise_for(heard, rng)
    if rng.random() < 0.15:
        heard = telephone(heard)
    heard = heard * 10.0 ** (rng.uniform(-24.0, 6.0) / 20.0)
    if rng.random() < 0.1:
        limit = max(0.02, float(np.abs(heard).max()) * rng.uniform(0.4, 0.9))
        heard = limit * np.tanh(heard / limit)
    out: Pcm = np.clip(heard, -1.0, 1.0).astype(np.float32)
    return out


def _filtered(pcm: Wave, gain: Wave) -> Wave:
    """`pcm` with its spectrum scaled by the real, zero-phase `gain` on rfft bins."""
    return np.fft.irfft(np.fft.rfft(pcm) * gain, len(pcm))


def _bins(pcm: Wave) -> Wave:
    """Frequencies in Hz of the rfft bins of `pcm`."""
    return np.fft.rfftfreq(len(pcm), 1.0 / SAMPLE_RATE)


def equalize(pcm: Wave, rng: Generator) -> Wave:
    """A tilt of up to 5 dB an octave-decade and three bumps or dips of up to 9 dB."""
    octaves = np.log2(np.maximum(_bins(pcm), 40.0) / 1000.0)
    decibel = rng.uniform(-2.5, 2.5) * octaves
    for _ in range(3):
        centre, width = rng.uniform(-3.0, 3.0), rng.uniform(0.3, 1.2)
        decibel += rng.uniform(-9.0, 9.0) * np.exp(-(((octaves - centre) / width) ** 2))
    return _filtered(pcm, 10.0 ** (np.clip(decibel, -18.0, 12.0) / 20.0))


def reverberate(pcm: Wave, rng: Generator) -> Wave:
    """A small room: exponentially decaying noise of 0.1 to 0.45 s behind the direct sound."""
    decay_s = rng.uniform(0.1, 0.45)
    length = int(decay_s * SAMPLE_RATE)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail[: int(rng.uniform(0.002, 0.012) * SAMPLE_RATE)] = 0.0
    tail *= rng.uniform(0.1, 0.6) / max(1e-9, float(np.sqrt(np.sum(tail**2))))
    tail[0] = 1.0
    size = 1 << (len(pcm) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)
    return wet[: len(pcm)]


def telephone(pcm: Wave) -> Wave:
    """Only 250 to 3,600 Hz, as an 8 kHz line carries."""
    hz = _bins(pcm)
    low = 1.0 / (1.0 + (150.0 / np.maximum(hz, 1.0)) ** 6)
    high = 1.0 / (1.0 + (hz / 3600.0) ** 12)
    return _filtered(pcm, low * high)


def noise_for(pcm: Wave, rng: Generator) -> Wave:
    """Steady noise (N,), 10 to 40 dB below the speech (of -22 dBFS where there is none)."""
    loud = pcm[np.abs(pcm) > 0.01]
    speech = float(np.sqrt(np.mean(loud**2))) if len(loud) > 1000 else 0.08
    kind = int(rng.integers(4))
    if kind == 3:
        noise = _hum(len(pcm), rng)
    elif kind == 2:
        noise = _babble(len(pcm), rng)
    else:
        noise = coloured(len(pcm), rng, slope=(0.0, rng.uniform(0.5, 1.0))[kind])
    level = float(np.sqrt(np.mean(noise**2)))
    scaled: Wave = noise * (speech / max(level, 1e-9) * 10.0 ** (-rng.uniform(10.0, 40.0) / 20.0))
    return scaled


def coloured(samples: int, rng: Generator, slope: float) -> Wave:
    """Noise whose amplitude falls as frequency to the power -`slope`: 0 white, 0.5 pink."""
    noise = rng.standard_normal(samples)
    return _filtered(noise, np.maximum(_bins(noise), 40.0) ** -slope)


def _hum(samples: int, rng: Generator) -> Wave:
    """Mains and its harmonics over a little hiss."""
    mains = rng.choice([50.0, 60.0])
    t = np.arange(samples) / SAMPLE_RATE
    hum = sum(
        rng.uniform(0.1, 1.0) / h * np.sin(2 * np.pi * (mains * h * t + rng.random()))
        for h in range(1, 8)
    )
    heard: Wave = hum + 0.05 * rng.standard_normal(samples)
    return heard


def _babble(samples: int, rng: Generator) -> Wave:
    """A distant crowd: speech-shaped noise whose loudness wavers at the rate of syllables."""
    crowd = np.zeros(samples)
    t = np.arange(samples) / SAMPLE_RATE
    for _ in range(4):
        swing = 0.6 + 0.4 * np.sin(2 * np.pi * (rng.uniform(2.0, 5.0) * t + rng.random()))
        crowd += swing * coloured(samples, rng, slope=rng.uniform(0.6, 1.0))
    return crowd
