"""Characters for end-to-end tests, and the real runtime with small random weights."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.character.registry import CharacterRegistry
from runtime.character.store import NewCharacter, add_character
from runtime.values import Box
from server.config import Model
from server.generation.interface import CallTimes
from server.generation.runtime_backend import RuntimeBackend
from tests.support.models.small_model import random_model


def make_characters(root: Path) -> Path:
    """One single character and one pair, as folders."""
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    picture = buffer.getvalue()
    add_character(NewCharacter("ana", picture, [Box(0.3, 0.3, 0.4, 0.4)], ["ana"]), root, (64, 64))
    boxes = [Box(0.05, 0.3, 0.4, 0.4), Box(0.55, 0.3, 0.4, 0.4)]
    add_character(NewCharacter("pair", picture, boxes, ["left", "right"]), root, (64, 64))
    return root


class SmallBackend(RuntimeBackend):
    """The real runtime; small random weights instead of trained ones."""

    def __init__(self, root: Path) -> None:
        super().__init__(Model(characters=(root,)), CharacterRegistry((root,)))

    def load(self) -> CallTimes:
        self._model = random_model(0)
        return self._warm_up()
