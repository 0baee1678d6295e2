"""From motion (mouth, cues, emotion) to the numbers that the drawing needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.values import EMOTIONS


@dataclass(frozen=True)
class Expression:
    """The state of one face in one frame. Values without a unit are 0..1 or -1..1."""

    opening: float  # of the mouth, 0 closed
    width: float
    round: float
    press: float
    teeth: float
    tongue: float
    corner: float  # mouth corners up, units
    spread: float  # factor on the width of the mouth by the emotion
    eye_open: float  # 1 at rest, 0 closed
    lower_lid: float  # raised, 0..1
    lid_slant: float  # inner end of the upper lid down (angry) or up (sad), units
    gaze_x: float
    gaze_y: float
    brow_inner: float  # up, units
    brow_outer: float  # up, units
    frown: float  # brows together, units
    cheek: float  # 0..1
    head_x: float
    head_y: float
    head_roll: float
    breath: float


def emotion_weights(emotion: str | npt.NDArray[np.floating] | Sequence[float]) -> list[float]:
    """Weights of the five EMOTIONS, from a name or from five numbers."""
    if isinstance(emotion, str):
        if emotion not in EMOTIONS:
            raise ValueError(f"There is no emotion {emotion!r}. Use one of {', '.join(EMOTIONS)}.")
        return [float(emotion == name) for name in EMOTIONS]
    weights = [float(weight) for weight in emotion]
    if len(weights) != len(EMOTIONS):
        raise ValueError(
            f"There are {len(weights)} emotion weights. Give {len(EMOTIONS)}, one each for "
            f"{', '.join(EMOTIONS)}."
        )
    return weights


def ramp(value: float, low: float, high: float) -> float:
    """A smooth step: 0 up to `low`, 1 from `high`."""
    part = min(max((value - low) / (high - low), 0.0), 1.0)
    return part * part * (3 - 2 * part)


def express(
    mouth: npt.NDArray[np.floating],
    cues: npt.NDArray[np.floating],
    emotion: str | npt.NDArray[np.floating] | Sequence[float],
    strength: float,
) -> Expression:
    """The expression of one person in one frame: mouth (6,), cues (8,), emotion, strength 0..1."""
    jaw, width, rounding, press, teeth, tongue = (float(value) for value in mouth)
    blink, gaze_x, gaze_y, brow, head_x, head_y, roll, breath = (float(v) for v in cues)
    _, happy, sad, angry, surprised = (
        weight * float(strength) for weight in emotion_weights(emotion)
    )
    jaw = min(max(jaw, 0.0), 1.0)
    opening = max(jaw - 0.02, 0.0) / 0.98 * (1 - ramp(press, 0.35, 0.9))
    rounding = min(max(rounding, 0.0), 1.0)
    return Expression(
        opening=opening,
        width=min(max(width, -1.0), 1.0),
        round=rounding,
        press=min(max(press, 0.0), 1.0),
        teeth=teeth * ramp(opening, 0.0, 0.04),
        tongue=tongue,
        corner=(3.2 + 6.0 * happy - 8.4 * sad - 5.4 * angry - 2.4 * surprised)
        * (1 - 0.5 * rounding),
        spread=1 + 0.16 * happy - 0.07 * sad - 0.06 * angry - 0.16 * surprised,
        eye_open=max(
            (1 - 0.05 * happy - 0.16 * sad - 0.1 * angry + 0.2 * surprised + 0.04 * brow)
            * (1 - min(max(blink, 0.0), 1.0)),
            0.0,
        ),
        lower_lid=min(0.5 * happy + 0.1 * sad + 0.34 * angry, 1.0),
        lid_slant=5.4 * angry - 3.4 * sad - 0.5,
        gaze_x=gaze_x,
        gaze_y=gaze_y + 0.18 * sad,
        brow_inner=4.0 * brow + 1.2 * happy + 7.0 * sad - 7.5 * angry + 8.0 * surprised,
        brow_outer=4.0 * brow + 1.6 * happy - 4.0 * sad + 2.6 * angry + 8.0 * surprised,
        frown=3.2 * angry + 1.0 * sad,
        cheek=happy,
        head_x=head_x,
        head_y=head_y,
        head_roll=roll,
        breath=breath,
    )
