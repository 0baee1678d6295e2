import numpy as np
import pytest

from runtime.character.face_mask import face_masks, token_masks
from runtime.errors import BadInput
from runtime.values import Box

LEFT = Box(0.15, 0.3, 0.2, 0.3)
RIGHT = Box(0.65, 0.3, 0.2, 0.3)
SMALL = Box(0.4, 0.4, 0.1, 0.1)


def test_one_speaker_owns_the_box_enlarged_three_times() -> None:
    mask = token_masks([SMALL], 20, 20)[0]
    expected = np.zeros((20, 20))
    expected[6:12, 6:12] = 1
    np.testing.assert_allclose(mask, expected, atol=1e-6)


def test_cells_at_the_edge_are_covered_in_part() -> None:
    mask = token_masks([SMALL], 8, 8)[0]
    np.testing.assert_allclose(mask.sum() / 64, 0.09, atol=0.005)
    assert ((mask > 0) & (mask < 1)).any()


def test_an_enlarged_box_is_clipped_to_the_picture() -> None:
    assert token_masks([Box(0, 0, 0.4, 0.4)], 8, 8)[0, 0, 0] == 1


@pytest.mark.parametrize(
    "boxes",
    [
        [LEFT, RIGHT],
        [LEFT, Box(0.3, 0.35, 0.3, 0.3)],  # overlapping faces
        [LEFT, Box(0.4, 0.1, 0.15, 0.2), RIGHT],
        [Box(0.4, 0.1, 0.2, 0.2), Box(0.4, 0.6, 0.2, 0.2)],  # one above the other
    ],
)
def test_masks_of_several_speakers_sum_to_at_most_one(boxes: list[Box]) -> None:
    masks = token_masks(boxes, 16, 16)
    assert masks.sum(0).max() <= 1 + 1e-6
    assert masks.min() >= 0


def test_neighbours_are_split_half_way_between_the_faces() -> None:
    left, right = token_masks([LEFT, RIGHT], 32, 32)
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-5)
    assert left[14, 14] > 0.98
    assert left[14, 17] < 0.02


def test_no_voice_leaks_into_another_face() -> None:
    left, right = token_masks([LEFT, RIGHT], 16, 16)
    assert right[5:9, 3:5].max() < 0.01
    assert left[5:9, 11:13].max() < 0.01


def test_overlapping_faces_are_split_down_the_middle() -> None:
    left, right = token_masks([Box(0.2, 0.3, 0.3, 0.3), Box(0.4, 0.3, 0.3, 0.3)], 40, 40)
    assert left[18, 17] > right[18, 17]
    assert left[18, 18] < right[18, 18]


def test_the_latent_grid_repeats_the_token_grid() -> None:
    latents = face_masks([LEFT, RIGHT], 16, 24).numpy()
    assert latents.shape == (2, 16, 24)
    np.testing.assert_array_equal(latents[:, 0::2, 0::2], token_masks([LEFT, RIGHT], 8, 12))
    np.testing.assert_array_equal(latents[:, 1::2, 1::2], latents[:, 0::2, 0::2])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "no face box"),
        ([Box(0.1, 0.1, 0, 0.2)], "no area"),
        ([Box(0.1, 0.1, 0.2, -0.2)], "no area"),
        ([Box(0.9, 0.1, 0.2, 0.2)], "leaves the picture"),
        ([Box(-0.1, 0.1, 0.2, 0.2)], "leaves the picture"),
        ([Box(10, 20, 100, 120)], "not pixels"),
        ([Box(float("nan"), 0.1, 0.2, 0.2)], "not numbers"),
        ([LEFT, RIGHT, LEFT], "Boxes 1 and 3 are the same face"),
    ],
)
def test_impossible_boxes_are_refused(boxes: list[Box], message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        token_masks(boxes, 8, 8)
    assert refused.value.param == "box"
