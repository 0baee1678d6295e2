"""The arithmetic behind the latency table."""

import numpy as np
import pytest

from client_demo.measure import measure
from client_demo.measure.measure import Picture, Sound

REST = np.full((8, 8), 100, np.float32)
OPEN = np.full((8, 8), 60, np.float32)


def pictures(mouths: list[np.ndarray], arrivals: list[float] | None = None) -> list[Picture]:
    times = arrivals or [index * 0.04 for index in range(len(mouths))]
    return [
        Picture(at, index * 3600, mouth, 1.0)
        for index, (at, mouth) in enumerate(zip(times, mouths, strict=True))
    ]


def test_the_first_move_is_the_first_picture_of_an_open_mouth_after_the_speech():
    seen = pictures([REST] * 25 + [OPEN] * 10)
    moved = measure.movement(seen, 0.8)

    assert measure.first_move_s(seen, moved, 0.8) == pytest.approx(25 * 0.04)


def test_a_single_odd_picture_is_no_move():
    seen = pictures([REST] * 25 + [OPEN] + [REST] * 5)

    assert measure.first_move_s(seen, measure.movement(seen, 0.8), 0.8) is None


def test_restless_pictures_raise_what_counts_as_a_move():
    swaying = [REST + 8 * (index % 2) for index in range(25)]
    seen = pictures([*swaying, *([REST + 12] * 5)])

    assert measure.first_move_s(seen, measure.movement(seen, 0.9), 0.9) is None


def test_the_last_move_is_the_last_open_mouth():
    seen = pictures([REST] * 10 + [OPEN] * 10 + [REST] * 5)

    assert measure.last_move_s(seen, measure.movement(seen, 0.3)) == pytest.approx(19 * 0.04)


def test_movement_without_a_resting_picture_is_refused():
    with pytest.raises(ValueError, match="before the speech"):
        measure.movement(pictures([OPEN]), -1.0)


def test_the_first_sound_is_the_first_audible_one_after_the_speech():
    sounds = [
        Sound(index * 0.01, index * 480, 0.5 if index in (3, 70) else 0.0) for index in range(99)
    ]

    assert measure.first_sound(sounds, 0.5, 0.01) is sounds[70]


def test_still_and_late_pictures_are_counted():
    arrivals = [index * 0.04 + (0.05 if index in (5, 6) else 0) for index in range(50)]
    seen = [
        Picture(at, index * 3600, REST, 0.0 if index == 20 else 1.0)
        for index, at in enumerate(arrivals)
    ]

    flow = measure.flow(seen, 25)

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

    offset = measure.sound_ahead(mouth_us, mouth, sound_us, sound)

    assert offset is not None
    assert abs(offset.ahead_ms - ahead_ms) <= 20
    assert offset.correlation > 0.8


def test_unlike_curves_have_no_offset():
    rng = np.random.default_rng(1)
    mouth_us, sound_us = np.arange(0, 8_000_000, 40_000), np.arange(0, 8_000_000, 10_000)

    assert measure.sound_ahead(mouth_us, rng.random(200), sound_us, rng.random(800)) is None


def test_the_mouth_region_is_the_lower_middle_of_the_face():
    box = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}

    rows, columns = measure.mouth_region(box, 200, 100)

    assert 50 <= rows.start < rows.stop <= 75
    assert 50 < columns.start < columns.stop < 150
