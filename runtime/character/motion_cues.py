"""Idle motion: blinks, gaze, brows, head, breath. A condition of the denoiser.

`idle_cues` is a pure function of the absolute video frame: time is divided into cells, and what
happens in a cell (when the eyes blink, where they look) is a hash of (seed, speaker, kind, cell).
Any cut of the time line therefore gives the same motion, without any state.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.timing import VIDEO_FPS
from runtime.values import EMOTIONS

__all__ = ["CUE_HIGH", "CUE_LOW", "EMOTIONS", "MOTION_CUES", "idle_cues"]

MOTION_CUES: Final = (
    "blink",  # 0 open .. 1 closed
    "gaze_x",  # -1 .. 1, picture right positive
    "gaze_y",  # -1 .. 1, down positive
    "brow",  # -1 .. 1, raised positive
    "head_x",  # -1 .. 1, sway, picture right positive
    "head_y",  # -1 .. 1, nod, down positive
    "head_roll",  # -1 .. 1, clockwise positive
    "breath",  # 0 .. 1, shoulders up
)
CUE_LOW = np.array([0, -1, -1, -1, -1, -1, -1, 0], np.float32)
CUE_HIGH = np.ones(len(MOTION_CUES), np.float32)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CALM_FRAMES = 2 * VIDEO_FPS  # the motion fades in over the first two seconds
BLINK_CELL = 4 * VIDEO_FPS  # one blink a cell, anywhere in its first half: 2 to 6 s apart
BLINK_FIRST = 40  # frames; shifts the cells so that a stream does not begin with a blink
# Eyelid at 0, 1, .. frames after the onset: close in 2, hold 1, open in 3.
BLINK_SHAPE = np.array([0.0, 0.5, 1.0, 1.0, 0.65, 0.3, 0.0])
BLINK_AGAIN = 10  # frames from a blink to its double
GAZE_CELL = 2 * VIDEO_FPS  # one saccade a cell, in its first half: looks last 1 to 3 s
SACCADE_FRAMES = 2
BROW_CELL = 6 * VIDEO_FPS
# Slow drifts: (frames between knots, largest value). Two octaves for each way the head moves.
DRIFTS = (
    (70, 0.15),  # brow
    (64, 0.325),  # head_x
    (23, 0.125),
    (55, 0.25),  # head_y
    (19, 0.15),
    (80, 0.275),  # head_roll
    (31, 0.125),
    (150, 0.50),  # breath: haste, rad
    (120, 0.15),  # breath: depth
)
BREATH = 0.6  # of the deepest breath
DRIFT_PERIODS = np.array([[period] for period, _ in DRIFTS], np.int64)
DRIFT_REACHES = np.array([[reach] for _, reach in DRIFTS])
DRIFT_KINDS = np.arange(40, 40 + len(DRIFTS), dtype=np.uint64)[:, None]


def idle_cues(seed: int, speaker: int, start_frame: int, count: int) -> NDArray[np.float32]:
    """Cues of video frames [start_frame, start_frame + count): float32 (count, 8).

    Frames at and before 0 are at rest (all zero), so a stream begins as the character's picture.
    """
    frame = np.arange(start_frame, start_frame + count, dtype=np.int64)
    key = _mix(np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF), np.uint64(speaker + 1))
    drift = _noise(key, frame)
    cues = np.empty((count, len(MOTION_CUES)))
    cues[:, 0] = _blink(key, frame)
    cues[:, 1], cues[:, 2] = _gaze(key, frame)
    cues[:, 3] = _brow(key, frame) + drift[0]
    cues[:, 4] = drift[1] + drift[2]
    cues[:, 5] = drift[3] + drift[4]
    cues[:, 6] = drift[5] + drift[6]
    cues[:, 7] = _breath(key, frame, drift[7], drift[8])
    calm = np.clip(frame / CALM_FRAMES, 0, 1)
    cues *= (calm * calm * (3 - 2 * calm))[:, None]
    return np.clip(cues, CUE_LOW, CUE_HIGH).astype(np.float32)


def _blink(key: np.uint64, frame: Ints) -> Floats:
    """A blink every 2 to 6 seconds, one in six of them double."""
    cell, since = np.divmod(frame - BLINK_FIRST, BLINK_CELL)
    closed = np.zeros(frame.shape)
    for back in (0, 1):  # a blink may run over its cell's end
        onset = np.floor(_uniform(key, 10, cell - back) * (BLINK_CELL // 2))
        after = since + back * BLINK_CELL - onset
        lids = _eyelid(after)
        doubled = _uniform(key, 11, cell - back) < 1 / 6
        lids = np.maximum(lids, np.where(doubled, _eyelid(after - BLINK_AGAIN), 0))
        closed = np.maximum(closed, lids)
    return closed


def _eyelid(after: Floats) -> Floats:
    lids: Floats = np.interp(after, np.arange(len(BLINK_SHAPE)), BLINK_SHAPE, left=0, right=0)
    return lids


def _gaze(key: np.uint64, frame: Ints) -> tuple[Floats, Floats]:
    """Mostly at the viewer; now and then a glance aside, reached in a two-frame saccade."""
    cell, since = np.divmod(frame, GAZE_CELL)
    onset = np.floor(_uniform(key, 20, cell) * (GAZE_CELL // 2))
    earlier = since < onset  # still looking where the cell before went
    look = cell - earlier
    after = np.where(earlier, since + GAZE_CELL, since)
    after = after - np.where(earlier, np.floor(_uniform(key, 20, look) * (GAZE_CELL // 2)), onset)
    moved = np.clip((after + 1) / SACCADE_FRAMES, 0, 1)
    old_x, old_y = _look(key, look - 1)
    new_x, new_y = _look(key, look)
    return old_x + (new_x - old_x) * moved, old_y + (new_y - old_y) * moved


def _look(key: np.uint64, look: Ints) -> tuple[Floats, Floats]:
    aside = _uniform(key, 21, look) < 0.3
    side = 2 * _uniform(key, 22, look) - 1
    height = 2 * _uniform(key, 23, look) - 1
    reach_x = np.sign(side) * (0.25 + 0.4 * np.abs(side))
    return np.where(aside, reach_x, 0.08 * side), np.where(aside, 0.3 * height, 0.05 * height)


def _brow(key: np.uint64, frame: Ints) -> Floats:
    """In two cells of five a raise of about a second."""
    cell, since = np.divmod(frame, BROW_CELL)
    onset = 20 + np.floor(_uniform(key, 30, cell) * (BROW_CELL - 80))
    hold = 8 + np.floor(_uniform(key, 31, cell) * 16)
    height = 0.35 + 0.4 * _uniform(key, 32, cell)
    happens = _uniform(key, 33, cell) < 0.4
    after = since - onset
    raised = np.minimum(np.clip(after / 5, 0, 1), np.clip((hold + 15 - after) / 10, 0, 1))
    raised = raised * raised * (3 - 2 * raised)
    raises: Floats = np.where(happens, height * raised, 0)
    return raises


def _breath(key: np.uint64, frame: Ints, haste: Floats, depth: Floats) -> Floats:
    """About 0.25 Hz, at each speaker's own pace, starting from the bottom of a breath."""
    hertz = 0.23 + 0.04 * float(_uniform(key, 70, np.zeros(1, np.int64))[0])
    phase = 2 * np.pi * hertz * frame / VIDEO_FPS + haste
    risen: Floats = BREATH * (0.85 + depth) * (1 - np.cos(phase)) / 2
    return risen


def _noise(key: np.uint64, frame: Ints) -> Floats:
    """Smooth noise, one row for each of DRIFTS: cubic B-splines through hashed values."""
    cell, since = np.divmod(frame, DRIFT_PERIODS)
    t = since / DRIFT_PERIODS
    weights = np.stack(
        (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
    )
    knots = 2 * _uniform(key, DRIFT_KINDS, cell + np.arange(-1, 3)[:, None, None]) - 1
    rows: Floats = DRIFT_REACHES * (weights * knots).sum(0)
    return rows


def _uniform(key: np.uint64, kind: int | NDArray[np.uint64], cell: Ints) -> Floats:
    """One number in [0, 1) per cell, always the same."""
    bits = _mix(np.atleast_1d(_mix(key, np.asarray(kind, np.uint64))), cell.astype(np.uint64))
    numbers: Floats = (bits >> np.uint64(11)).astype(np.float64) / 2.0**53
    return numbers


def _mix(a: Any, b: Any) -> Any:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014) over both numbers."""
    with np.errstate(over="ignore"):
        z = a * np.uint64(0x9E3779B97F4A7C15) + b + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
