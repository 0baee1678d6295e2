"""The cast: it has names of its own, and it is what ships."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from runtime.values import EMOTIONS
from training.drawing.cast import CastMember, cast
from training.drawing.people import Renderer
from training.shipped import CHARACTERS


def test_the_cast_is_24_singles_and_8_pairs_with_names_of_their_own() -> None:
    members = cast()
    assert [len(member.scene.placements) for member in members] == [1] * 24 + [2] * 8
    speakers = [speaker for member in members for speaker in member.speaker_ids]
    assert len(set(speakers)) == len(speakers) == 40
    assert members[24].id == "ana-ben"
    assert all(len(member.speaker_names) == len(member.scene.boxes()) for member in members)
    assert cast() == members


@pytest.mark.parametrize("member", cast(), ids=lambda member: str(member.id))
def test_the_shipped_pictures_are_drawn_byte_for_byte(member: CastMember) -> None:
    renderer = Renderer(member.scene)
    people = len(member.speaker_ids)
    for emotion in EMOTIONS:
        drawn = renderer.frame(
            np.zeros((people, 6)), np.zeros((people, 8)), [emotion] * people, np.ones(people)
        )
        file = "picture.webp" if emotion == "neutral" else f"{emotion}.webp"
        shipped = np.asarray(Image.open(CHARACTERS / member.id / file))
        assert (drawn == shipped).all()
