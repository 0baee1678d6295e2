import numpy as np
import pytest

from runtime.character.motion_cues import CUE_HIGH, CUE_LOW, MOTION_CUES, idle_cues

MINUTES = 10 * 60 * 25


def column(name: str, seed: int = 7, speaker: int = 0, count: int = MINUTES) -> np.ndarray:
    return idle_cues(seed, speaker, 0, count)[:, MOTION_CUES.index(name)]


def onsets(seed: int) -> np.ndarray:
    closed = column("blink", seed) > 0.4
    return np.flatnonzero(closed[1:] & ~closed[:-1]) + 1


@pytest.mark.parametrize("chunk", [1, 7, 100, 333])
def test_any_cut_gives_the_same_motion(chunk: int) -> None:
    whole = idle_cues(3, 1, -20, 700)
    parts = [idle_cues(3, 1, -20 + at, min(chunk, 700 - at)) for at in range(0, 700, chunk)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_every_cue_stays_in_its_range() -> None:
    for seed in range(5):
        cues = idle_cues(seed, 0, 0, MINUTES)
        assert cues.dtype == np.float32
        assert (cues >= CUE_LOW).all()
        assert (cues <= CUE_HIGH).all()


def test_a_stream_starts_at_rest() -> None:
    assert not idle_cues(5, 0, -40, 41).any()
    assert np.abs(idle_cues(5, 0, 0, 8)).max() < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_eyes_blink_every_two_to_six_seconds_apart_from_doubles(seed: int) -> None:
    gaps = np.diff(onsets(seed))
    single = gaps[gaps > 10]
    assert single.min() >= 40
    assert single.max() <= 150
    assert 0.02 < np.mean(gaps == 10) < 0.4


def test_a_blink_closes_fully_and_is_over_in_six_frames() -> None:
    blink = column("blink")
    first = onsets(7)[0]
    assert blink[first : first + 4].max() == 1
    assert blink[first - 2] == 0
    assert blink[first + 6] == 0


def test_the_gaze_rests_on_the_viewer_most_of_the_time() -> None:
    assert np.mean(np.abs(column("gaze_x")) < 0.15) > 0.55
    assert np.abs(column("gaze_x")).max() > 0.4


@pytest.mark.parametrize("name", ["head_x", "head_y", "head_roll"])
def test_the_head_moves_visibly_and_smoothly(name: str) -> None:
    moved = column(name)
    assert moved.std() > 0.08
    assert np.abs(np.diff(moved)).max() < 0.06


def test_breathing_is_about_a_quarter_hertz() -> None:
    breath = column("breath")
    spectrum = np.abs(np.fft.rfft(breath - breath.mean()))
    assert 0.2 < np.fft.rfftfreq(len(breath), 1 / 25)[spectrum.argmax()] < 0.3


def test_speakers_and_seeds_do_not_move_alike() -> None:
    same = np.corrcoef(column("head_x", 7, 0), column("head_x", 7, 1))[0, 1]
    other = np.corrcoef(column("head_x", 7, 0), column("head_x", 8, 0))[0, 1]
    assert abs(same) < 0.3
    assert abs(other) < 0.3
