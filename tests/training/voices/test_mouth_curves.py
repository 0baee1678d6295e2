"""The mouth of a drawn person, from timed phonemes."""

import numpy as np
import pytest

from training.voices.mouth_curves import (
    JAW,
    MOUTH_COLUMNS,
    PRESS,
    ROUND,
    TEETH,
    TONGUE,
    WIDTH,
    Phoneme,
    mouth_curves,
    visemes_of,
)

RATE = 16_000


def say(*timed, frames=40):
    """Mouth of (symbol, milliseconds) spoken one after the other, 200 ms into the clip."""
    at, phonemes = 3200, []
    for symbol, ms in timed:
        stop = at + ms * RATE // 1000
        phonemes.append(Phoneme(symbol, at, stop))
        at = stop
    return mouth_curves(phonemes, RATE, frames)


def test_the_columns_are_in_the_agreed_order():
    assert MOUTH_COLUMNS == ("jaw", "width", "round", "press", "teeth", "tongue")


def test_there_is_one_row_for_every_video_frame():
    rows = say(("a", 200), frames=17)
    assert rows.shape == (17, 6)
    assert rows.dtype == np.float32


def test_without_speech_the_mouth_is_exactly_shut():
    assert not mouth_curves([], RATE, 10).any()
    assert not say(("", 500)).any()


def test_no_frames_give_no_rows():
    assert mouth_curves([], RATE, 0).shape == (0, 6)


@pytest.mark.parametrize("symbol", ["m", "b", "p"])
@pytest.mark.parametrize("ms", [30, 80])
def test_lips_meet_for_at_least_one_frame(symbol, ms):
    rows = say(("a", 150), (symbol, ms), ("a", 150))
    closed = (rows[:, JAW] == 0.0) & (rows[:, PRESS] == 1.0)
    assert closed[5:14].any()


def test_open_vowels_open_the_mouth_wider_than_close_ones():
    wide, half, small = (say((v, 250))[:, JAW].max() for v in ("a", "ə", "i"))
    assert wide > 0.8
    assert 0.3 < half < 0.5
    assert 0.25 < small < 0.45


@pytest.mark.parametrize("symbol", ["s", "t", "k", "f"])
def test_consonants_between_vowels_lower_the_jaw(symbol):
    rows = say(("a", 160), (symbol, 100), ("a", 160))
    middle = rows[5 + 5, JAW]
    assert 0.05 < middle < 0.7 * rows[:, JAW].max()
    assert rows[:, PRESS].max() == 0.0


def test_teeth_show_for_f_and_v_only():
    assert say(("a", 150), ("f", 100), ("a", 150))[:, TEETH].max() > 0.7
    assert say(("a", 150), ("s", 100), ("a", 150))[:, TEETH].max() == 0.0


def test_the_tongue_shows_for_th_and_l():
    assert say(("a", 150), ("θ", 100), ("a", 150))[:, TONGUE].max() > 0.6
    assert say(("a", 150), ("l", 100), ("a", 150))[:, TONGUE].max() > 0.4


def test_lips_are_round_for_u_and_wide_for_i():
    assert say(("u", 250))[:, ROUND].max() > 0.9
    assert say(("u", 250))[:, WIDTH].min() < -0.5
    assert say(("i", 250))[:, WIDTH].max() > 0.6


def test_rounding_begins_80_ms_before_its_vowel():
    rows = say(("t", 200), ("u", 200))
    starts = 10  # 200 ms of silence and 200 ms of t
    assert rows[starts - 2, ROUND] > 0.25
    assert rows[starts - 2, ROUND] > rows[starts - 5, ROUND] + 0.2


def test_the_mouth_is_shut_120_ms_after_the_last_sound():
    rows = say(("a", 400))
    ends = 5 + 10
    assert rows[ends - 1, JAW] > 0.4
    assert not rows[ends + 3 :].any()


def test_the_mouth_does_not_open_long_before_the_first_sound():
    assert not say(("a", 400))[:3].any()


def test_a_diphthong_moves_from_one_shape_to_the_other():
    rows = say(("aɪ", 320))
    assert rows[5, JAW] > rows[12, JAW] + 0.2
    assert rows[11, WIDTH] > rows[6, WIDTH]


def test_effort_opens_the_jaw_further():
    soft = mouth_curves([Phoneme("ə", 3200, 8000, 0.8)], RATE, 20)
    loud = mouth_curves([Phoneme("ə", 3200, 8000, 1.2)], RATE, 20)
    assert loud[:, JAW].max() > 1.3 * soft[:, JAW].max()


def test_values_stay_in_their_ranges():
    rows = say(*((s, 70) for s in "mabifuθolpeswyabæt"), frames=60)
    assert rows.min(axis=0)[WIDTH] >= -1.0
    assert np.delete(rows, WIDTH, axis=1).min() >= 0.0
    assert rows.max() <= 1.0


def test_syllables_move_the_jaw_up_and_down():
    rows = say(*[("b", 70), ("a", 130)] * 5)
    jaw = rows[5:30, JAW]
    opened = ((jaw[1:] > 0.4) & (jaw[:-1] <= 0.4)).sum()
    assert opened == 5
    assert jaw.max() > 0.6


def test_curves_do_not_depend_on_the_rate_of_the_samples():
    slow = mouth_curves([Phoneme("m", 1600, 3200), Phoneme("a", 3200, 6400)], 16_000, 20)
    fast = mouth_curves([Phoneme("m", 4800, 9600), Phoneme("a", 9600, 19200)], 48_000, 20)
    np.testing.assert_allclose(slow, fast, atol=1e-6)


def test_marks_of_length_and_language_have_no_mouth_shape():
    assert len(visemes_of("oːɹ")) == 2
    assert len(visemes_of("ɐ̃")) == 1
    assert visemes_of("(en)") == []
    assert visemes_of("") == []
