"""Scores of a predicted mouth against the true one, chosen for what viewers notice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.voices.mouth_curves import JAW, PRESS

_LAGS = range(-5, 6)


@dataclass(frozen=True, slots=True)
class MouthScores:
    """Scores over all frames; `lag` is in frames, positive if the prediction is late."""

    jaw: float  # correlation of the jaw
    lag: int  # with the largest correlation
    amplitude: float  # standard deviation of the predicted jaw over that of the true one
    press_f1: float  # F1 score of pressed lips, with a threshold of one half
    closed: float  # predicted jaw while lips are pressed, over its mean while speaking
    silent: float  # predicted jaw in silence, over its mean while speaking
    columns: list[float]  # correlation of every column


def score_mouth(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> MouthScores:
    """Scores of predicted (F, 6) against true (F, 6) mouths."""
    jaw, true_jaw = predicted[:, JAW], true[:, JAW]
    silent = _long_runs(np.abs(true).max(axis=1) == 0.0)
    speaking = float(np.maximum(jaw[~silent], 0.0).mean()) + 1e-9
    pressed, found = true[:, PRESS] > 0.5, predicted[:, PRESS] > 0.5
    by_lag = {lag: correlation(np.roll(jaw, -lag), true_jaw) for lag in _LAGS}
    return MouthScores(
        jaw=round(by_lag[0], 4),
        lag=max(by_lag, key=lambda lag: by_lag[lag]),
        amplitude=round(float(jaw.std() / (true_jaw.std() + 1e-9)), 4),
        press_f1=round(float(2 * (pressed & found).sum() / max(1, pressed.sum() + found.sum())), 4),
        closed=round(float(np.maximum(jaw[true[:, PRESS] > 0.95], 0.0).mean()) / speaking, 4),
        silent=round(float(np.maximum(jaw[silent], 0.0).mean()) / speaking, 4),
        columns=[round(correlation(p, t), 4) for p, t in zip(predicted.T, true.T, strict=True)],
    )


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation; 0 if one of the two is constant."""
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _long_runs(quiet: NDArray[np.bool_], frames: int = 6) -> NDArray[np.bool_]:
    """The parts of True runs of at least `frames` frames."""
    runs = np.zeros_like(quiet)
    start = None
    for i, is_quiet in enumerate([*quiet, False]):
        if is_quiet and start is None:
            start = i
        elif not is_quiet and start is not None:
            runs[start:i] = i - start >= frames
            start = None
    return runs
