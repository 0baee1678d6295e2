"""Moments: what the transformer made of a clip, beside the true pictures of the same time."""

import numpy as np

from runtime.values import EMOTIONS
from training.data.clips import LATENTS
from training.data.generated import Motion, draw_motion, motion_of
from training.data.pictures import scene_of
from training.drawing.people import Renderer


def test_motion_of_a_moment_is_that_of_its_last_two_latent_frames(sampler):
    motion = motion_of(sampler, 1, 0, [3, LATENTS - 1])
    last = 4 * LATENTS
    expected = np.array([np.arange(9, 17), np.arange(last - 7, last + 1)])
    assert np.array_equal(motion.mouth[..., 0, 0], expected)
    assert np.array_equal(motion.cues[..., 0, 0], expected)
    assert (motion.scene, motion.moods) == (0, ["neutral"])


def test_moments_are_drawn_with_their_motion():
    rng = np.random.default_rng(0)
    mouth, cues = rng.random((2, 8, 1, 6), np.float32), rng.random((2, 8, 1, 8), np.float32)
    moods, strengths = [EMOTIONS[1]], np.ones(1, np.float32)
    pictures = draw_motion(Motion(0, mouth, cues, moods, strengths))
    assert pictures.shape == (2, 8, 256, 256, 3)
    frame = Renderer(scene_of(0, 256)).frame(mouth[1, 5], cues[1, 5], moods, strengths)
    assert np.array_equal(pictures[1, 5], frame)
