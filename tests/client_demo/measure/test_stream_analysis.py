"""The arithmetic behind the latency table."""

import numpy as np
import pytest

from client_demo.measure import stream_analysis
from client_demo.measure.stream_analysis import MouthFrame, SoundLevel

REST = np.full((8, 8), 100, np.float32)
OPEN = np.full((8, 8), 60, np.float32)


def mouth_frames(mouths: list[np.ndarray], arrivals: list[float] | None = None) -> list[MouthFrame]:
    times = arrivals or [index * 0.04 for index in range(len(mouths))]
    return [
        MouthFrame(at, index * 3600, mouth, 1.0)
        for index, (at, mouth) in enumerate(zip(times, mouths, strict=True))
    ]


def test_the_first_move_is_the_first_frame_of_an_open_mouth_after_the_speech():
    seen = mouth_frames([REST] * 25 + [OPEN] * 10)
    moved = stream_analysis.movement(seen, 0.8)

    assert stream_analysis.first_move_s(seen, moved, 0.8) == pytest.approx(25 * 0.04)


def test_a_single_odd_frame_is_no_move():
    seen = mouth_frames([REST] * 25 + [OPEN] + [REST] * 5)

    assert stream_analysis.first_move_s(seen, stream_analysis.movement(seen, 0.8), 0.8) is None


def test_movement_at_rest_raises_the_threshold_of_a_move():
    swaying = [REST + 8 * (index % 2) for index in range(25)]
    seen = mouth_frames([*swaying, *([REST + 12] * 5)])

    assert stream_analysis.first_move_s(seen, stream_analysis.movement(seen, 0.9), 0.9) is None


def test_the_last_move_is_the_last_open_mouth():
    seen = mouth_frames([REST] * 10 + [OPEN] * 10 + [REST] * 5)

    assert stream_analysis.last_move_s(seen, stream_analysis.movement(seen, 0.3)) == pytest.approx(
        19 * 0.04
    )


def test_movement_without_a_frame_at_rest_is_refused():
    with pytest.raises(ValueError, match="before the speech"):
        stream_analysis.movement(mouth_frames([OPEN]), -1.0)


def test_the_first_sound_is_the_first_audible_one_after_the_speech():
    sounds = [
        SoundLevel(index * 0.01, index * 480, 0.5 if index in (3, 70) else 0.0)
        for index in range(99)
    ]

    assert stream_analysis.first_sound(sounds, 0.5, 0.01) is sounds[70]


def levels_of(*audible: range) -> list[SoundLevel]:
    """Two seconds in steps of 10 ms; audible in the steps of `audible`."""
    loud = {step for steps in audible for step in steps}
    return [SoundLevel(n * 0.01, n * 480, 0.5 if n in loud else 0.0) for n in range(200)]


def test_an_onset_after_quiet_is_found_near_its_expected_time():
    levels = levels_of(range(0, 80), range(105, 150))

    assert stream_analysis.onset_near(levels, 1000, 0.01) is levels[105]


def test_an_onset_into_another_voice_is_unknown():
    levels = levels_of(range(0, 150))

    assert stream_analysis.onset_near(levels, 1000, 0.01) is None


def test_still_and_late_frames_are_counted():
    arrivals = [index * 0.04 + (0.05 if index in (5, 6) else 0) for index in range(50)]
    seen = [
        MouthFrame(at, index * 3600, REST, 0.0 if index == 20 else 1.0)
        for index, at in enumerate(arrivals)
    ]

    flow = stream_analysis.frame_delivery(seen, 25)

    assert (flow.frames, flow.still, flow.late) == (50, 1, 2)
    assert flow.fps == pytest.approx(25, abs=0.1)


def speech_curve(times_s: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(3)
    syllables = rng.uniform(0, 1, 400)
    return np.interp(times_s, np.arange(400) * 0.15, syllables)


@pytest.mark.parametrize("ahead_ms", [-120, -40, 0, 40, 120])
def test_the_offset_of_mouth_and_sound_is_found(ahead_ms):
    mouth_us = np.arange(0, 8_000_000, 40_000)
    sound_us = np.arange(0, 8_000_000, 10_000)
    mouth = speech_curve(mouth_us / 1e6 + 1)
    sound = speech_curve(sound_us / 1e6 + 1 + ahead_ms / 1000) ** 2

    offset = stream_analysis.sound_ahead(mouth_us, mouth, sound_us, sound)

    assert offset is not None
    assert abs(offset.ahead_ms - ahead_ms) <= 20
    assert offset.correlation > 0.8


def test_uncorrelated_curves_have_no_offset():
    rng = np.random.default_rng(1)
    mouth_us, sound_us = np.arange(0, 8_000_000, 40_000), np.arange(0, 8_000_000, 10_000)

    assert stream_analysis.sound_ahead(mouth_us, rng.random(200), sound_us, rng.random(800)) is None


def test_the_mouth_region_is_the_lower_middle_of_the_face():
    box = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}

    rows, columns = stream_analysis.mouth_region(box, 200, 100)

    assert 50 <= rows.start < rows.stop <= 75
    assert 50 < columns.start < columns.stop < 150
