"""From timed phonemes to the mouth of a drawn person, one row per video frame.

Every phoneme pulls each column of the mouth towards its own target; the pull is strongest inside
the phoneme and fades on both sides, and the curve is the average weighted by the pulls (the
dominance model of Cohen and Massaro, 1993). So neighbours blend, a `t` between two open vowels
hardly closes the jaw, and lips round before the vowel that needs it. Two things are not blended:
lips meet for m, b and p, and the mouth is shut in silence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.timing import VIDEO_FPS

MOUTH_COLUMNS = ("jaw", "width", "round", "press", "teeth", "tongue")
"""jaw 0..1 opening, width -1..1 (narrow..wide), round 0..1, press 0..1 (lips pressed together),
teeth 0..1 (upper teeth on the lower lip), tongue 0..1 (tip visible)."""

JAW, WIDTH, ROUND, PRESS, TEETH, TONGUE = range(6)
_STEPS_PER_FRAME = 8
_STEP_S = 1.0 / (VIDEO_FPS * _STEPS_PER_FRAME)  # the curves are drawn at 200 Hz, then averaged
_FADE_IN_S = np.array([0.035, 0.060, 0.080, 0.020, 0.030, 0.030])
_FADE_OUT_S = np.array([0.035, 0.050, 0.045, 0.020, 0.030, 0.030])
_OPENS_EARLY_S = 0.060  # a mouth opens before its first sound ...
_SHUTS_AFTER_S = 0.080  # ... and is shut this long after its last
_CLOSING_S = 0.040  # lips travel this long to and from a closure
_LONGEST_CLOSURE_S = 0.100
_SHORT_PAUSE_S = 0.060  # a gap shorter than this is no silence: the mouth moves on through it


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One IPA symbol spoken in samples [start, stop); "" is silence. `effort` scales the jaw."""

    symbol: str
    start: int
    stop: int
    effort: float = 1.0


@dataclass(frozen=True, slots=True)
class Viseme:
    """Where one sound wants the mouth, and how strongly it insists on jaw and on the lips.

    `closed` is the share of the sound's time for which the lips are pressed together.
    """

    jaw: float
    width: float = 0.0
    round: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    jaw_pull: float = 1.0
    lip_pull: float = 1.0
    closed: float = 0.0


def _vowel(jaw: float, width: float = 0.0, rounded: float = 0.0) -> Viseme:
    return Viseme(jaw, width, rounded, jaw_pull=1.6, lip_pull=1.0)


def _consonant(jaw: float, pull: float, tongue: float = 0.0) -> Viseme:
    return Viseme(jaw, 0.0, 0.0, tongue=tongue, jaw_pull=pull, lip_pull=0.15)


_HUM = Viseme(0.0, jaw_pull=1.5, lip_pull=0.3, closed=0.9)
_BURST = Viseme(0.0, jaw_pull=1.5, lip_pull=0.3, closed=0.65)
_TEETH = Viseme(0.10, 0.1, 0.0, teeth=1.0, jaw_pull=2.6, lip_pull=0.7)
_DENTAL = _consonant(0.18, 1.5, tongue=1.0)
_ALVEOLAR = _consonant(0.15, 1.3, tongue=0.5)
_LATERAL = _consonant(0.24, 1.0, tongue=0.8)
_SIBILANT = Viseme(0.10, 0.45, 0.0, tongue=0.1, jaw_pull=2.2, lip_pull=0.5)
_HUSH = Viseme(0.14, -0.3, 0.6, jaw_pull=2.0, lip_pull=0.8)
_RHOTIC = Viseme(0.22, -0.2, 0.4, jaw_pull=1.0, lip_pull=0.5)
_VELAR = _consonant(0.22, 0.9)
_UVULAR = _consonant(0.28, 0.6)
_BREATH = _consonant(0.35, 0.08)
_GLIDE_W = Viseme(0.18, -0.8, 1.0, jaw_pull=1.6, lip_pull=1.3)
_GLIDE_J = Viseme(0.22, 0.6, 0.0, jaw_pull=1.2, lip_pull=0.6)

VISEMES: dict[str, Viseme] = {
    **dict.fromkeys("aɑɐᴀ", _vowel(0.95, 0.05)),
    **dict.fromkeys("æ", _vowel(0.90, 0.35)),
    **dict.fromkeys("ʌ", _vowel(0.72, 0.05)),
    **dict.fromkeys("ɛ", _vowel(0.65, 0.40)),
    **dict.fromkeys("e", _vowel(0.52, 0.55)),
    **dict.fromkeys("ɪ", _vowel(0.40, 0.40)),
    **dict.fromkeys("i", _vowel(0.34, 0.80)),
    **dict.fromkeys("ɨɯᵻ", _vowel(0.34, 0.30)),
    **dict.fromkeys("əɘᵊ", _vowel(0.40)),
    **dict.fromkeys("ɜɝɚɤ", _vowel(0.48, -0.1, 0.25)),
    **dict.fromkeys("ɒ", _vowel(0.82, -0.2, 0.35)),
    **dict.fromkeys("ɔ", _vowel(0.70, -0.4, 0.60)),
    **dict.fromkeys("oɵ", _vowel(0.52, -0.6, 0.80)),
    **dict.fromkeys("uʉ", _vowel(0.30, -0.8, 1.00)),
    **dict.fromkeys("ʊ", _vowel(0.36, -0.5, 0.65)),
    **dict.fromkeys("yʏ", _vowel(0.30, -0.6, 0.90)),
    **dict.fromkeys("øœɞ", _vowel(0.50, -0.4, 0.70)),
    **dict.fromkeys("m", _HUM),
    **dict.fromkeys("bpɓ", _BURST),
    **dict.fromkeys("fvɱʋ", _TEETH),
    **dict.fromkeys("βɸ", Viseme(0.08, 0.0, 0.2, jaw_pull=1.2, lip_pull=0.6)),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnɾɖʈɳɗ", _ALVEOLAR),
    **dict.fromkeys("lɫɭɬɮɺ", _LATERAL),
    **dict.fromkeys("szɕʑ", _SIBILANT),
    **dict.fromkeys("ʃʒʂʐ", _HUSH),
    **dict.fromkeys("ɹɻ", _RHOTIC),
    **dict.fromkeys("rɽ", _consonant(0.22, 1.0, tongue=0.4)),
    **dict.fromkeys("kgɡŋcɟɲxɣçʎʝ", _VELAR),
    **dict.fromkeys("qɢʁχʀħʕ", _UVULAR),
    **dict.fromkeys("hɦʔ", _BREATH),
    **dict.fromkeys("wʍɥ", _GLIDE_W),
    **dict.fromkeys("j", _GLIDE_J),
}
"""IPA base letter -> viseme. Length, stress, tone and voicing marks do not move the mouth."""


@dataclass(frozen=True, slots=True)
class _Pull:
    """A viseme over seconds [start, stop)."""

    viseme: Viseme
    start: float
    stop: float
    effort: float


def visemes_of(symbol: str) -> list[Viseme]:
    """Visemes of one IPA symbol in order; [] for silence and for marks without a mouth shape.

    Symbols may hold several sounds (`aɪ`, `tʃ`, `oːɹ`): each base letter counts once.
    """
    if symbol.startswith("("):  # espeak-ng announces a change of language as "(en)"
        return []
    letters = unicodedata.normalize("NFD", symbol)
    return [VISEMES[letter] for letter in letters if letter in VISEMES]


def mouth_curves(phonemes: Sequence[Phoneme], rate: int, frames: int) -> NDArray[np.float32]:
    """The mouth of each video frame: (frames, 6) float32 in MOUTH_COLUMNS' order.

    `phonemes` are in order of time with samples counted at `rate` Hz from frame 0's first sample;
    whatever they do not cover is silence. Frame k shows the mean over [k, k+1) / 25 s.
    """
    steps = frames * _STEPS_PER_FRAME
    if not steps:
        return np.zeros((0, len(MOUTH_COLUMNS)), np.float32)
    times = np.arange(0.5, steps, dtype=np.float64) * _STEP_S
    pulls = _pulls(phonemes, rate)
    speaking = _speaking(times, pulls)
    curves = _blend(times, pulls) * speaking[:, None]
    pressed = _closure(times, pulls)
    open_again = 1.0 - pressed
    curves[:, JAW] *= open_again
    curves[:, TEETH] *= open_again
    curves[:, TONGUE] *= open_again
    curves[:, PRESS] = pressed
    rows = curves.reshape(frames, _STEPS_PER_FRAME, -1).mean(axis=1)
    _close_one_frame_each(rows, pulls)
    return np.ascontiguousarray(np.clip(rows, -1.0, 1.0), dtype=np.float32)


def _pulls(phonemes: Sequence[Phoneme], rate: int) -> list[_Pull]:
    pulls: list[_Pull] = []
    for phoneme in phonemes:
        visemes = visemes_of(phoneme.symbol)
        start, stop = phoneme.start / rate, phoneme.stop / rate
        if not visemes or stop <= start:
            continue
        share = (stop - start) / len(visemes)
        pulls += [
            _Pull(viseme, start + i * share, start + (i + 1) * share, phoneme.effort)
            for i, viseme in enumerate(visemes)
        ]
    return pulls


def _targets(pull: _Pull) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Target and strength of one pull for every column."""
    v = pull.viseme
    jaw = min(1.0, v.jaw * pull.effort)
    target = np.array([jaw, v.width, v.round, 0.0, v.teeth, v.tongue])
    bite, reach = 1.0 + 2.0 * v.teeth, 1.0 + v.tongue  # a brief f or th must show
    strength = np.array([v.jaw_pull, v.lip_pull, v.lip_pull, 0.0, bite, reach])
    return target, strength


def _blend(times: NDArray[np.float64], pulls: Sequence[_Pull]) -> NDArray[np.float64]:
    """Mean of all targets (steps, 6), weighted by how strongly each pulls at each time."""
    total = np.full((len(times), len(MOUTH_COLUMNS)), 1e-9)
    weighted = np.zeros_like(total)
    for pull in pulls:
        near = (times > pull.start - 0.6) & (times < pull.stop + 0.6)
        t = times[near, None]
        before = np.maximum(pull.start - t, 0.0) / _FADE_IN_S
        after = np.maximum(t - pull.stop, 0.0) / _FADE_OUT_S
        target, strength = _targets(pull)
        dominance = strength * np.exp(-(before + after))
        total[near] += dominance
        weighted[near] += dominance * target
    return _smooth(weighted / total)


def _smooth(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """A 40 ms raised-cosine average: lips have mass."""
    kernel = np.hanning(11)[1:-1]
    kernel /= kernel.sum()
    half = len(kernel) // 2
    padded = np.pad(curves, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


def _ramp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 below 0, 1 above 1, with zero slope at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _speaking(times: NDArray[np.float64], pulls: Sequence[_Pull]) -> NDArray[np.float64]:
    """1 while words are spoken, exactly 0 in silence, with short ramps between."""
    level = np.zeros_like(times)
    for start, stop in _stretches(pulls):
        rise = _ramp((times - (start - _OPENS_EARLY_S)) / (_OPENS_EARLY_S + 0.03))
        fall = _ramp(((stop + _SHUTS_AFTER_S) - times) / (_SHUTS_AFTER_S + 0.03))
        level = np.maximum(level, np.minimum(rise, fall))
    return level


def _stretches(pulls: Sequence[_Pull]) -> list[tuple[float, float]]:
    """Seconds [start, stop) without a pause inside."""
    stretches: list[tuple[float, float]] = []
    for pull in pulls:
        if stretches and pull.start - stretches[-1][1] < _SHORT_PAUSE_S:
            stretches[-1] = (stretches[-1][0], pull.stop)
        else:
            stretches.append((pull.start, pull.stop))
    return stretches


def _closure(times: NDArray[np.float64], pulls: Sequence[_Pull]) -> NDArray[np.float64]:
    """How closed the lips are for m, b and p: 1 while shut, 0 beyond 40 ms around it."""
    pressed = np.zeros_like(times)
    for pull in pulls:
        if not pull.viseme.closed:
            continue
        arriving = _ramp(1.0 - (pull.start - times) / _CLOSING_S)
        leaving = _ramp(1.0 - (times - _release(pull)) / _CLOSING_S)
        pressed = np.maximum(pressed, np.minimum(arriving, leaving))
    return pressed


def _release(pull: _Pull) -> float:
    """The second at which the lips of an m, b or p part."""
    closed = pull.viseme.closed * (pull.stop - pull.start)
    return pull.start + min(closed, _LONGEST_CLOSURE_S)


def _close_one_frame_each(rows: NDArray[np.float64], pulls: Sequence[_Pull]) -> None:
    """However short an m, b or p is, the frame with its closure's middle shows closed lips."""
    for pull in pulls:
        frame = int((pull.start + _release(pull)) / 2 * VIDEO_FPS)
        if pull.viseme.closed and 0 <= frame < len(rows):
            rows[frame, [JAW, TEETH, TONGUE]] = 0.0
            rows[frame, PRESS] = 1.0
