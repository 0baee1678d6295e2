"""The largest faces become the speakers; errors say what is missing and what to do."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from runtime.character.picture_file import read_picture
from runtime.character.pictures import pixels_of
from runtime.errors import BadInput, CheckpointError, Unsupported
from runtime.hunyuan.encoders.faces import DEFAULT_MODELS, InsightFaceFinder, choose_faces
from runtime.values import Box
from tests.support.released.face_models import write_red_square_detector

SMALL_LEFT = Box(0.0, 0.2, 0.1, 0.1)
LARGE_RIGHT = Box(0.7, 0.2, 0.2, 0.3)
LARGE_MIDDLE = Box(0.4, 0.2, 0.2, 0.25)
needs_insightface = pytest.mark.skipif(
    find_spec("insightface") is None, reason="InsightFace is not installed: the extra `faces`"
)


def test_one_speaker_gets_the_largest_face():
    assert choose_faces([SMALL_LEFT, LARGE_MIDDLE, LARGE_RIGHT], 1) == (LARGE_RIGHT,)


def test_several_speakers_get_the_largest_faces_from_left_to_right():
    chosen = choose_faces([LARGE_RIGHT, SMALL_LEFT, LARGE_MIDDLE], 2)
    assert chosen == (LARGE_MIDDLE, LARGE_RIGHT)


def test_no_face_is_refused_with_what_to_do():
    with pytest.raises(BadInput, match=r"No face was found.*--face x,y,width,height"):
        choose_faces([], 1)


def test_fewer_faces_than_speakers_are_refused_with_what_to_do():
    with pytest.raises(BadInput, match=r"1 of 2 speakers.*--face"):
        choose_faces([LARGE_RIGHT], 2)


@pytest.mark.skipif(find_spec("insightface") is not None, reason="InsightFace is installed")
def test_without_insightface_the_error_says_what_to_install():
    with pytest.raises(Unsupported, match=r"pip install 'avatar-server\[faces\]'.*--face"):
        InsightFaceFinder()


@needs_insightface
def test_without_models_the_error_says_what_to_download(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"Unpack https://.*buffalo_l\.zip.*--face"):
        InsightFaceFinder(tmp_path)


@needs_insightface
def test_a_damaged_model_is_named(tmp_path: Path):
    (tmp_path / "detector.onnx").write_bytes(b"cut short")
    with pytest.raises(CheckpointError, match=r"detector\.onnx.*Unpack https://.*--face"):
        InsightFaceFinder(tmp_path)


@needs_insightface
@pytest.mark.filterwarnings("default")  # InsightFace's own
def test_the_detector_gets_the_channels_in_its_order(tmp_path: Path):
    write_red_square_detector(tmp_path)
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[64:96, 320:352, 0] = 255
    picture[320:352, 64:96, 2] = 255
    (box,) = InsightFaceFinder(tmp_path)(picture)
    assert box == pytest.approx((0.5, 0.1, 0.05, 0.05))


@needs_insightface
@pytest.mark.filterwarnings("default")  # InsightFace's own
@pytest.mark.skipif(
    not DEFAULT_MODELS.expanduser().is_dir(), reason=f"there are no face models in {DEFAULT_MODELS}"
)
def test_faces_of_a_photograph_are_found_inside_of_it():
    import insightface

    photograph = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    boxes = InsightFaceFinder()(pixels_of(read_picture(photograph)))
    assert len(boxes) == 6
    assert all(0 <= box.x < box.right <= 1 and 0 <= box.y < box.bottom <= 1 for box in boxes)
