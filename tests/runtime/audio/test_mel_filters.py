"""Whisper's mel bands."""

import pytest
import torch

from runtime.audio.mel_filters import hz_to_mel, mel_to_hz, slaney_filters


@pytest.mark.parametrize("hz", [0.0, 440.0, 1000.0, 3000.0, 8000.0])
def test_mel_and_hertz_are_inverse(hz):
    assert mel_to_hz(hz_to_mel(hz)) == pytest.approx(hz)


def test_one_kilohertz_is_fifteen_mel():
    assert hz_to_mel(1000.0) == pytest.approx(15.0)


def test_wide_bands_have_unit_area():
    filters = slaney_filters(16_000, 400, 80)
    assert filters.shape == (201, 80)
    torch.testing.assert_close(filters[:, 40:].sum(0) * 40.0, torch.ones(40), atol=0.1, rtol=0.0)


def test_the_bands_climb_and_overlap_their_neighbours():
    filters = slaney_filters(16_000, 400, 80)
    peaks = filters.argmax(0)
    assert (peaks.diff() >= 0).all()
    assert ((filters[:, 40:-1] > 0) & (filters[:, 41:] > 0)).any(0).all()
