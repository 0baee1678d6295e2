"""Face boxes in a photograph: InsightFace finds them, and the largest ones become the speakers.

InsightFace is an extra (`pip install 'avatar-server[faces]'`). Its models are a separate download
and for non-commercial use only. A user who gives the boxes needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from runtime.errors import BadInput, CheckpointError, Unsupported
from runtime.values import Box, Pixels

DEFAULT_MODELS = Path("~/.insightface/models/buffalo_l")  # InsightFace's own folder
MODELS_URL = "https://github.com/deepinsight/insightface/releases/download/model-zoo/buffalo_l.zip"
BY_HAND = "or give the box yourself as fractions of the picture: --face x,y,width,height"


class FaceFinder(Protocol):
    """Finds faces."""

    def __call__(self, picture: Pixels) -> list[Box]:
        """The faces in an RGB picture (H, W, 3), cut off at its borders, in any order."""
        ...


class InsightFaceFinder:
    """The detector of an InsightFace model folder, on the CPU.

    Raises Unsupported if InsightFace is not installed and CheckpointError if the folder holds no
    detector; both say what to install or download. This code downloads nothing.
    """

    def __init__(self, models: Path = DEFAULT_MODELS) -> None:
        folder = models.expanduser()
        analysis = _insightface()
        if not any(folder.glob("*.onnx")):
            raise _no_detector(folder, "it holds no .onnx file")
        try:
            self._analysis = analysis(
                name=str(folder),
                allowed_modules=["detection"],
                providers=["CPUExecutionProvider"],
            )
        except AssertionError as error:  # InsightFace's own check that there is a detector
            raise _no_detector(folder, "none of its models detects faces") from error
        except Exception as error:  # ONNX Runtime's errors have no other base class
            raise _no_detector(folder, str(error)) from error
        self._analysis.prepare(ctx_id=-1)

    def __call__(self, picture: Pixels) -> list[Box]:
        """See `FaceFinder`."""
        height, width = picture.shape[:2]
        faces = self._analysis.get(np.ascontiguousarray(picture[..., ::-1]))  # it reads BGR
        boxes = [_inside(face.bbox, width, height) for face in faces]
        return [box for box in boxes if box.width > 0 and box.height > 0]


def choose_faces(found: Sequence[Box], speakers: int) -> tuple[Box, ...]:
    """The speakers' faces: the largest ones, as in the release, from left to right.

    Raises BadInput if there are fewer faces than speakers.
    """
    if not found:
        raise BadInput(
            f"No face was found in the picture. Use one with a larger face, {BY_HAND}.",
            param="face",
        )
    if len(found) < speakers:
        raise BadInput(
            f"{len(found)} of {speakers} speakers' faces were found in the picture. Use another "
            f"picture, {BY_HAND}, once for each speaker.",
            param="face",
        )
    largest = sorted(found, key=lambda box: box.width * box.height, reverse=True)[:speakers]
    return tuple(sorted(largest, key=lambda box: box.centre[0]))


def _insightface() -> Any:
    """InsightFace's detector class."""
    try:
        return import_module("insightface.app").FaceAnalysis
    except ImportError as error:
        raise Unsupported(
            f"Finding faces needs InsightFace, which cannot be imported ({error}). Install it, "
            f"`pip install 'avatar-server[faces]'`, {BY_HAND}.",
            param="face",
        ) from error


def _no_detector(folder: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} is no folder of face models: {found}. Unpack {MODELS_URL} there (for "
        f"non-commercial use only), {BY_HAND}.",
        param="face",
    )


def _inside(edges: Sequence[float], width: int, height: int) -> Box:
    """Left, top, right, bottom in pixels -> a box in fractions of the picture, inside of it."""
    left, right = (min(max(float(edge), 0.0), width) / width for edge in edges[::2])
    top, bottom = (min(max(float(edge), 0.0), height) / height for edge in edges[1::2])
    return Box(left, top, right - left, bottom - top)
