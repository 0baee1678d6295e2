"""What a received stream shows: pure functions over observations, without reading a clock.

Times of arrival are seconds of the client's event loop. Times on the stream's time line are
microseconds (see ReceivedMedia.timestamp_us).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

LOUDNESS_STEP_MS = 10
AUDIO_TICKS_PER_MS = 48  # of audio pts
LAG_LIMIT_MS = 300  # offsets searched on both sides
MIN_CORRELATION = 0.3  # below, mouth and sound are too different to show an offset
MOVED = 2.5  # times the largest movement at rest: the mouth speaks
MIN_MOVE = 1.0  # mean difference of 8-bit brightness below which nothing moves
LATE_S = 0.02  # half a frame at 25 fps
SAME_FRAME = 0.02  # mean difference of 8-bit brightness: the same frame, encoded again
EARLY_MS, LATE_MS = 60, 1000  # how far from its expected time an onset is searched
QUIET_MS = 60  # of quiet that must precede an onset


@dataclass(frozen=True, slots=True)
class MouthFrame:
    """One received frame, cut to one speaker's mouth.

    `mouth` (h, w) is brightness 0..255. `change` is the mean difference of the whole frame from the
    frame before.
    """

    arrived_s: float
    pts: int
    mouth: NDArray[np.float32]
    change: float


@dataclass(frozen=True, slots=True)
class SoundLevel:
    """Loudness (root mean square, 0..1) of LOUDNESS_STEP_MS of received sound."""

    arrived_s: float
    pts: int
    loudness: float


@dataclass(frozen=True, slots=True)
class FrameDelivery:
    """How evenly frames arrived.

    `still` counts frames equal to the one before: the character rests, or the server repeated a
    frame because the next was not ready. `late` counts frames over 20 ms late.
    """

    frames: int
    fps: float
    still: int
    late: int


@dataclass(frozen=True, slots=True)
class LipSyncOffset:
    """By how much the sound is ahead of the mouth, and the correlation of the curves (0..1)."""

    ahead_ms: int
    correlation: float


def mouth_region(box: dict[str, float], width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in a frame: the lower middle of the face box."""
    top, bottom = box["y"] + 0.58 * box["height"], box["y"] + 0.94 * box["height"]
    left, right = box["x"] + 0.22 * box["width"], box["x"] + 0.78 * box["width"]
    rows = slice(max(0, round(top * height)), min(height, round(bottom * height)))
    columns = slice(max(0, round(left * width)), min(width, round(right * width)))
    return rows, columns


def movement(frames: Sequence[MouthFrame], resting_until_s: float) -> NDArray[np.float64]:
    """Distance of each mouth from the mouth at rest, in units of the largest distance at rest.

    Values above 1 exceed any movement before `resting_until_s`. Raises ValueError if no frame
    arrived before that.
    """
    resting = [frame.mouth for frame in frames if frame.arrived_s <= resting_until_s]
    if not resting:
        raise ValueError("No frame arrived before the speech. Listen for a second before speaking.")
    rest = np.median(np.stack(resting), axis=0)
    distances = np.array([np.mean(np.abs(frame.mouth - rest)) for frame in frames])
    return distances / max(MIN_MOVE, float(distances[: len(resting)].max()))


def first_move_s(
    frames: Sequence[MouthFrame], moved: NDArray[np.float64], after_s: float
) -> float | None:
    """Arrival of the first frame after `after_s` from which the mouth speaks for two frames."""
    speaks = moved > MOVED
    for index in range(len(frames) - 1):
        if frames[index].arrived_s > after_s and speaks[index] and speaks[index + 1]:
            return frames[index].arrived_s
    return None


def last_move_s(frames: Sequence[MouthFrame], moved: NDArray[np.float64]) -> float | None:
    """Arrival of the last frame in which the mouth speaks."""
    speaking = [frame.arrived_s for frame, m in zip(frames, moved, strict=True) if m > MOVED]
    return speaking[-1] if speaking else None


def first_sound(levels: Sequence[SoundLevel], after_s: float, audible: float) -> SoundLevel | None:
    """The first audible sound that arrived after `after_s`."""
    loud = (one for one in levels if one.arrived_s > after_s and one.loudness >= audible)
    return next(loud, None)


def onset_near(levels: Sequence[SoundLevel], expected_ms: int, audible: float) -> SoundLevel | None:
    """The audible sound that follows quiet near `expected_ms` of the stream.

    None if another voice sounds just before: a mix does not show whose sound begins.
    """
    quiet_ms = 0
    for level in levels:
        at_ms = level.pts // AUDIO_TICKS_PER_MS - expected_ms
        if at_ms > LATE_MS:
            return None
        if level.loudness < audible:
            quiet_ms += LOUDNESS_STEP_MS
        elif at_ms >= -EARLY_MS:
            return level if quiet_ms >= QUIET_MS else None
        else:
            quiet_ms = 0
    return None


def frame_delivery(frames: Sequence[MouthFrame], fps: int) -> FrameDelivery:
    """Count frames, those equal to the one before, and those that arrived late.

    Late is relative to the steadiest pace that fits: the median of arrival minus pts.
    """
    if len(frames) < 2:
        return FrameDelivery(len(frames), 0.0, 0, 0)
    arrivals = np.array([frame.arrived_s for frame in frames])
    delays = arrivals - np.array([frame.pts for frame in frames]) / 90_000
    late = int(np.sum(delays - median(delays.tolist()) > LATE_S))
    still = sum(frame.change < SAME_FRAME for frame in frames[1:])
    shown_fps = (len(frames) - 1) / float(arrivals[-1] - arrivals[0])
    return FrameDelivery(len(frames), round(shown_fps, 2), still, late)


def sound_ahead(
    mouth_us: NDArray[np.int64],
    moved: NDArray[np.float64],
    sound_us: NDArray[np.int64],
    loudness: NDArray[np.float64],
) -> LipSyncOffset | None:
    """The offset in the stream's time at which mouth and loudness correlate best.

    Both are resampled to a grid of 10 ms; the sound is smoothed over 80 ms. None if they correlate
    too little. A mouth opens before its sound and closes after it, so the result is good to about
    20 ms; a flash with a click shows offsets more exactly.
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
    correlations = np.array([_correlation(mouth, sound, int(lag)) for lag in lags])
    best = int(np.argmax(correlations))
    if not np.isfinite(correlations[best]) or correlations[best] < MIN_CORRELATION:
        return None
    return LipSyncOffset(int(lags[best]) * LOUDNESS_STEP_MS, round(float(correlations[best]), 2))


def _correlation(mouth: NDArray[np.float64], sound: NDArray[np.float64], lag: int) -> float:
    """Correlation with the mouth `lag` steps behind the sound."""
    if lag >= 0:
        a, b = mouth[lag:], sound[: len(sound) - lag]
    else:
        a, b = mouth[:lag], sound[-lag:]
    if a.std() == 0 or b.std() == 0:
        return float("-inf")
    return float(np.corrcoef(a, b)[0, 1])
