"""Short clips of generated latents, and the true frames of the same time."""

import numpy as np

from runtime.values import EMOTIONS
from training.data.clips import LATENTS
from training.data.generated import Motion, draw_motion, motion_of
from training.data.pictures import scene_of
from training.drawing.people import Renderer


def test_the_motion_of_a_short_clip_is_that_of_its_last_two_latent_frames(sampler):
    motion = motion_of(sampler, 1, 0, [3, LATENTS - 1])
    last = 4 * LATENTS
    expected = np.array([np.arange(9, 17), np.arange(last - 7, last + 1)])
    assert np.array_equal(motion.mouth[..., 0, 0], expected)
    assert np.array_equal(motion.cues[..., 0, 0], expected)
    assert (motion.scene, motion.emotions) == (0, ["neutral"])


def test_short_clips_are_drawn_with_their_motion():
    rng = np.random.default_rng(0)
    mouth, cues = rng.random((2, 8, 1, 6), np.float32), rng.random((2, 8, 1, 8), np.float32)
    emotions, strengths = [EMOTIONS[1]], np.ones(1, np.float32)
    pictures = draw_motion(Motion(0, mouth, cues, emotions, strengths))
    assert pictures.shape == (2, 8, 256, 256, 3)
    frame = Renderer(scene_of(0, 256)).frame(mouth[1, 5], cues[1, 5], emotions, strengths)
    assert np.array_equal(pictures[1, 5], frame)
