"""What a client can tell from a received stream: pure functions over observations, no clock read.

Times of arrival are seconds of the client's event loop; times on the stream's one time line are
microseconds (see ReceivedMedia.moment_us).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

LOUDNESS_STEP_MS = 10
LAG_LIMIT_MS = 300  # offsets searched on both sides
LEAST_CORRELATION = 0.3  # below, mouth and sound are too unlike to tell an offset
MOVED = 2.5  # times the largest movement at rest: a mouth that speaks
LEAST_MOVE = 1.0  # mean difference of 8-bit brightness below which nothing moves
LATE_S = 0.02  # half a frame at 25 fps
SAME_PICTURE = 0.02  # mean difference of 8-bit brightness: the same picture encoded again


@dataclass(frozen=True, slots=True)
class Picture:
    """One received frame, seen at one speaker's mouth.

    `mouth` (h, w) brightness 0..255; `change`: mean difference of the whole picture to the one
    before.
    """

    arrived_s: float
    pts: int
    mouth: NDArray[np.float32]
    change: float


@dataclass(frozen=True, slots=True)
class Sound:
    """Loudness (root mean square, 0..1) of LOUDNESS_STEP_MS of received sound."""

    arrived_s: float
    pts: int
    loudness: float


@dataclass(frozen=True, slots=True)
class Flow:
    """How evenly pictures came: `still` show what the one before did, `late` came over 20 ms late.

    Who rests is still, and so is a picture that is held for want of the next.
    """

    frames: int
    fps: float
    still: int
    late: int


@dataclass(frozen=True, slots=True)
class Offset:
    """By how much the sound is ahead of the mouth, and how alike the two curves are (0..1)."""

    ahead_ms: int
    correlation: float


def mouth_region(box: dict[str, float], width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in a picture: the lower middle of the face box."""
    top, bottom = box["y"] + 0.58 * box["height"], box["y"] + 0.94 * box["height"]
    left, right = box["x"] + 0.22 * box["width"], box["x"] + 0.78 * box["width"]
    rows = slice(max(0, round(top * height)), min(height, round(bottom * height)))
    columns = slice(max(0, round(left * width)), min(width, round(right * width)))
    return rows, columns


def movement(pictures: Sequence[Picture], resting_until_s: float) -> NDArray[np.float64]:
    """How far each mouth is from how it looks at rest, in the largest distances seen at rest.

    Values above 1 are more than any movement before `resting_until_s`. Raises ValueError when
    nothing was received before that.
    """
    resting = [picture.mouth for picture in pictures if picture.arrived_s <= resting_until_s]
    if not resting:
        raise ValueError("no picture came before the speech: listen for a second before speaking")
    rest = np.median(np.stack(resting), axis=0)
    distances = np.array([np.mean(np.abs(picture.mouth - rest)) for picture in pictures])
    return distances / max(LEAST_MOVE, float(distances[: len(resting)].max()))


def first_move_s(
    pictures: Sequence[Picture], moved: NDArray[np.float64], after_s: float
) -> float | None:
    """Arrival of the first picture after `after_s` in which, and in the next, the mouth speaks."""
    speaks = moved > MOVED
    for index in range(len(pictures) - 1):
        if pictures[index].arrived_s > after_s and speaks[index] and speaks[index + 1]:
            return pictures[index].arrived_s
    return None


def last_move_s(pictures: Sequence[Picture], moved: NDArray[np.float64]) -> float | None:
    """Arrival of the last picture in which the mouth speaks."""
    speaking = [picture.arrived_s for picture, m in zip(pictures, moved, strict=True) if m > MOVED]
    return speaking[-1] if speaking else None


def first_sound(sounds: Sequence[Sound], after_s: float, audible: float) -> Sound | None:
    """The first audible sound that came after `after_s`."""
    loud = (one for one in sounds if one.arrived_s > after_s and one.loudness >= audible)
    return next(loud, None)


def flow(pictures: Sequence[Picture], fps: int) -> Flow:
    """Count pictures, those like the one before, and those that came late.

    Late is against the steadiest pace that fits: the median of arrival minus time in the stream.
    """
    if len(pictures) < 2:
        return Flow(len(pictures), 0.0, 0, 0)
    arrivals = np.array([picture.arrived_s for picture in pictures])
    delays = arrivals - np.array([picture.pts for picture in pictures]) / 90_000
    late = int(np.sum(delays - median(delays.tolist()) > LATE_S))
    still = sum(picture.change < SAME_PICTURE for picture in pictures[1:])
    shown_fps = (len(pictures) - 1) / float(arrivals[-1] - arrivals[0])
    return Flow(len(pictures), round(shown_fps, 2), still, late)


def sound_ahead(
    mouth_us: NDArray[np.int64],
    moved: NDArray[np.float64],
    sound_us: NDArray[np.int64],
    loudness: NDArray[np.float64],
) -> Offset | None:
    """The offset between mouth and loudness at which they are most alike, in the stream's time.

    Both are laid on a grid of 10 ms and smoothed to the length of a picture. None when they are
    too unlike. A mouth opens before and closes after its sound, so this tells offsets of some
    20 ms at best; a flash with a click tells them better.
    """
    start, stop = max(mouth_us[0], sound_us[0]), min(mouth_us[-1], sound_us[-1])
    grid = np.arange(start, stop, LOUDNESS_STEP_MS * 1000)
    if len(grid) < 100:  # a second
        return None
    mouth = np.interp(grid, mouth_us, moved)
    sound = np.interp(grid, sound_us, np.sqrt(loudness))
    sound = np.convolve(sound, np.full(8, 1 / 8), "same")  # 80 ms: jaws move no faster
    steps = LAG_LIMIT_MS // LOUDNESS_STEP_MS
    lags = np.arange(-steps, steps + 1)
    alike = np.array([_correlation(mouth, sound, int(lag)) for lag in lags])
    best = int(np.argmax(alike))
    if not np.isfinite(alike[best]) or alike[best] < LEAST_CORRELATION:
        return None
    return Offset(int(lags[best]) * LOUDNESS_STEP_MS, round(float(alike[best]), 2))


def _correlation(mouth: NDArray[np.float64], sound: NDArray[np.float64], lag: int) -> float:
    """Correlation where the mouth is `lag` steps behind the sound."""
    if lag >= 0:
        a, b = mouth[lag:], sound[: len(sound) - lag]
    else:
        a, b = mouth[:lag], sound[-lag:]
    if a.std() == 0 or b.std() == 0:
        return float("-inf")
    return float(np.corrcoef(a, b)[0, 1])
