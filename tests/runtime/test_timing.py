import pytest

from runtime.timing import (
    OUTPUT_RATE,
    OUTPUT_SAMPLES_PER_FRAME,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_LATENT,
    frames_for_samples,
    frames_in_latents,
    frames_of_latent,
    latent_of_frame,
)


def test_units_fit_each_other() -> None:
    assert SAMPLES_PER_FRAME == 640
    assert SAMPLES_PER_LATENT == 2560
    assert OUTPUT_SAMPLES_PER_FRAME * 25 == OUTPUT_RATE


def test_the_first_latent_frame_is_one_picture_and_every_other_is_four() -> None:
    assert list(frames_of_latent(0)) == [0]
    assert list(frames_of_latent(1)) == [1, 2, 3, 4]
    assert list(frames_of_latent(5)) == [17, 18, 19, 20]


@pytest.mark.parametrize("frame", range(40))
def test_every_frame_belongs_to_exactly_one_latent_frame(frame: int) -> None:
    owners = [n for n in range(20) if frame in frames_of_latent(n)]
    assert owners == [latent_of_frame(frame)]


def test_counts_agree_with_the_ranges() -> None:
    for latents in range(10):
        assert frames_in_latents(latents) == sum(len(frames_of_latent(n)) for n in range(latents))


def test_audio_of_a_frame_is_forty_milliseconds() -> None:
    assert [frames_for_samples(n) for n in (0, 1, 640, 641)] == [0, 1, 1, 2]
