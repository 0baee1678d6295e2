"""Drawn people: what the network learns from must mean what its motion says."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from training.drawing.people import EMOTIONS, DrawnScene, Renderer, random_scene, render
from training.scores.mouth_meter import mouth_opening

JAW, WIDTH, ROUND, PRESS, TEETH, TONGUE = range(6)
Frame = npt.NDArray[np.uint8]


def still(people: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.zeros((people, 6)), np.zeros((people, 8))


def single(seed: int) -> DrawnScene:
    return random_scene(np.random.default_rng(seed), 1)


def draw(
    renderer: Renderer,
    emotion: str = "neutral",
    strength: float = 1.0,
    blink: float = 0.0,
    **columns: float,
) -> Frame:
    """One frame of a single with the named mouth columns set."""
    mouth, cues = still(1)
    names = ("jaw", "width", "round", "press", "teeth", "tongue")
    for name, value in columns.items():
        mouth[0, names.index(name)] = value
    cues[0, 0] = blink
    return renderer.frame(mouth, cues, [emotion], [strength])


def crop(frame: Frame, box: tuple[float, float, float, float]) -> Frame:
    height, width = frame.shape[:2]
    x, y, box_width, box_height = box
    return frame[
        round(y * height) : round((y + box_height) * height),
        round(x * width) : round((x + box_width) * width),
    ]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_mouth_is_closed_without_the_jaw_in_every_emotion(emotion: str) -> None:
    for seed in range(8):
        renderer = Renderer(single(seed))
        box = renderer.scene.mouth_boxes()[0]
        reference = draw(renderer)
        frames = [
            draw(renderer, emotion),
            draw(renderer, emotion, jaw=0.02, teeth=1.0, tongue=1.0),
            draw(renderer, emotion, jaw=1.0, press=0.9),
        ]
        assert mouth_opening(np.stack(frames), box, reference).max() < 0.01
        # Nothing inside is drawn at all: teeth and tongue make no difference.
        assert (draw(renderer, emotion, jaw=0.02) == frames[1]).all()


def test_the_jaw_opens_the_mouth_steadily() -> None:
    for seed in range(6):
        renderer = Renderer(single(seed))
        frames = np.stack([draw(renderer, jaw=jaw) for jaw in np.linspace(0.0, 1.0, 9)])
        opening = mouth_opening(frames, renderer.scene.mouth_boxes()[0], frames[0])
        assert (np.diff(opening) > 0).all()
        assert opening[-1] > 0.8


@pytest.mark.slow
def test_the_meter_follows_the_jaw_for_many_people_and_mouths() -> None:
    rng = np.random.default_rng(3)
    for seed in range(100, 112):
        renderer = Renderer(single(seed))
        jaws = np.clip(rng.uniform(-0.1, 1.0, 24), 0, 1)
        frames = np.stack(
            [
                draw(
                    renderer,
                    EMOTIONS[int(rng.integers(5))],
                    rng.random(),
                    jaw=jaw,
                    width=rng.uniform(-1, 1),
                    round=max(rng.uniform(-1, 1), 0.0),
                    tongue=rng.random(),
                )
                for jaw in jaws
            ]
        )
        opening = mouth_opening(frames, renderer.scene.mouth_boxes()[0], draw(renderer))
        assert np.corrcoef(opening, jaws)[0, 1] > 0.95


def test_the_mouth_box_holds_all_that_the_mouth_moves_but_the_chin() -> None:
    for seed in range(6):
        renderer = Renderer(single(seed))
        if renderer.scene.placements[0].identity.beard != "none":
            continue  # a beard moves with the chin
        change = np.abs(draw(renderer, jaw=1.0).astype(int) - draw(renderer)).max(axis=2)
        x, y, width, height = (round(256 * value) for value in renderer.scene.mouth_boxes()[0])
        face_x, _, face_width, _ = (round(256 * value) for value in renderer.scene.boxes()[0])
        assert change[:y, x : x + width].max() == 0
        assert (change[y : y + height, x : x + width] > 30).sum() > 150
        # What else changes is the edge of cheeks and chin.
        change[:, face_x : face_x + face_width] = 0
        assert change.max() == 0


def test_face_boxes_lie_in_the_picture_in_order_and_apart() -> None:
    for people in (1, 2, 3):
        for seed in range(20):
            boxes = random_scene(np.random.default_rng(seed), people).boxes()
            assert len(boxes) == people
            for x, y, width, height in boxes:
                assert x > 0
                assert y > 0
                assert x + width < 1
                assert y + height < 1
            for left, right in itertools.pairwise(boxes):
                assert left[0] + left[2] < right[0]


def test_the_same_scene_and_motion_make_the_same_picture() -> None:
    mouth, cues = still(2)
    mouth[:, JAW] = 0.4
    scenes = [random_scene(np.random.default_rng(7), 2) for _ in range(2)]
    assert scenes[0] == scenes[1]
    pictures = [render(scene, mouth, cues, ["happy", "sad"], [1.0, 0.5]) for scene in scenes]
    assert (pictures[0] == pictures[1]).all()
    assert pictures[0].shape == (256, 256, 3)
    assert pictures[0].dtype == np.uint8


def test_one_person_moving_leaves_the_other_and_the_room_alone() -> None:
    scene = random_scene(np.random.default_rng(2000), 2)
    renderer = Renderer(scene)
    mouth, cues = still(2)
    rest = renderer.frame(mouth, cues, ["neutral"] * 2, [1.0] * 2)
    mouth[0, JAW] = 1.0
    cues[0] = 1.0
    moved = renderer.frame(mouth, cues, ["happy", "neutral"], [1.0] * 2)
    changed = (moved != rest).any(axis=2)
    assert changed.any()
    assert not changed[:, 160:].any()
    assert not changed[:40].any()
    face = crop(moved, scene.boxes()[1])
    assert (face == crop(rest, scene.boxes()[1])).all()


def test_the_eyes_close_fully_at_a_whole_blink() -> None:
    renderer = Renderer(single(1))
    box = renderer.scene.eye_boxes()[0]
    bright = [
        (crop(draw(renderer, blink=blink), box).min(axis=2) > 225).sum()
        for blink in (0.0, 0.5, 1.0)
    ]
    assert bright[0] > bright[1] > bright[2] == 0


def test_every_emotion_changes_the_face_and_strength_scales_it() -> None:
    renderer = Renderer(single(4))
    rest = draw(renderer).astype(int)
    for emotion in EMOTIONS[1:]:
        half, full = (np.abs(draw(renderer, emotion, s) - rest).sum() for s in (0.5, 1.0))
        assert full > half > 0
    assert (draw(renderer, "happy", 0.0) == rest).all()


def test_emotions_may_be_weights_and_unknown_ones_are_refused() -> None:
    renderer = Renderer(single(4))
    mouth, cues = still(1)
    named = renderer.frame(mouth, cues, ["sad"], [1.0])
    assert (renderer.frame(mouth, cues, np.eye(5)[[2]], [1.0]) == named).all()
    with pytest.raises(ValueError, match="There is no emotion 'bored'"):
        renderer.frame(mouth, cues, ["bored"], [1.0])
    with pytest.raises(ValueError, match="Give one row of each"):
        renderer.frame(*still(2), ["sad"], [1.0])
