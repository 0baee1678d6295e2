"""Short clips of drawn people in random motion, to train the autoencoder on.

`python -m training.data.pictures` draws them into training/runs/pictures: clips of 12 frames (three
latent frames) of the cast and of random people, and a reference image of each scene.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from runtime.character.motion_cues import idle_cues
from runtime.values import EMOTIONS
from training.drawing.cast import cast
from training.drawing.people import DrawnScene, Renderer, random_scene
from training.run import RUNS

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

FRAMES = 12
FOLDER = RUNS / "pictures"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureClips:
    """Clips (N, 12, H, W, 3) uint8 of scenes, with their reference images, mouths and eyes."""

    clips: Pixels
    scene: NDArray[np.int64]  # (N,) the scene of each clip
    rest: Pixels  # reference images (scenes, H, W, 3): everybody at rest
    mouth_boxes: list[list[Box]]  # per scene, a box per person
    eye_boxes: list[list[Box]]

    @classmethod
    def load(cls, folder: Path = FOLDER) -> PictureClips:
        about = json.loads((folder / "about.json").read_text())
        return cls(
            np.load(folder / "clips.npy"),
            np.array(about["scene"]),
            np.load(folder / "rest.npy"),
            about["mouth_boxes"],
            about["eye_boxes"],
        )


def random_walk(rng: np.random.Generator, frames: int, columns: int, every: int) -> Floats:
    """Columns in [0, 1] that move to a new random value about every `every` frames."""
    knots = rng.random((frames // every + 2, columns))
    at = np.arange(frames) / every + rng.random()
    return np.stack(
        [np.interp(at, np.arange(len(knots)), knots[:, c]) for c in range(columns)], axis=1
    ).astype(np.float32)


def random_mouth(rng: np.random.Generator, frames: int) -> Floats:
    """Mouth curves (frames, 6) with more variety than speech: all shapes in any order."""
    mouth = random_walk(rng, frames, 6, every=int(rng.integers(2, 5)))
    mouth[:, 0] = np.clip(1.5 * mouth[:, 0] - 0.35, 0, 1)  # jaw: often closed
    mouth[:, 1] = 2 * mouth[:, 1] - 1
    mouth[:, 2:] = np.clip(2.2 * mouth[:, 2:] - 1.2, 0, 1)  # the others: mostly zero
    if rng.random() < 0.15:
        mouth[:] = 0
    return mouth


def random_cues(rng: np.random.Generator, frames: int) -> Floats:
    """Motion cues (frames, 8) as in a stream, but with more blinks and glances."""
    start = int(rng.integers(50, 50_000))
    cues = idle_cues(int(rng.integers(1 << 31)), 0, start, frames)
    if rng.random() < 0.4:
        cues[:, 0] = np.clip(2 * random_walk(rng, frames, 1, every=4)[:, 0] - 0.6, 0, 1)
    if rng.random() < 0.3:
        cues[:, 1:4] = 2 * random_walk(rng, frames, 3, every=6) - 1
    if rng.random() < 0.3:
        cues[:, 4:7] = 2 * random_walk(rng, frames, 3, every=12) - 1
    return cues


def draw_clip(scene: DrawnScene, renderer: Renderer, rng: np.random.Generator) -> Pixels:
    """One clip (12, H, W, 3) of a scene; each person has random motion and a random emotion."""
    people = len(scene.placements)
    mouths = np.stack([random_mouth(rng, FRAMES) for _ in range(people)], axis=1)
    cues = np.stack([random_cues(rng, FRAMES) for _ in range(people)], axis=1)
    emotions = [str(rng.choice(EMOTIONS)) for _ in range(people)]
    strengths = rng.choice([0.5, 1.0], people)
    return renderer.frames(mouths, cues, emotions, strengths)


def scene_of(index: int, size: int) -> DrawnScene:
    """Scene number `index`: first the cast, then random people."""
    members = cast()
    if index < len(members):
        return members[index].scene
    rng = np.random.default_rng(10_000 + index)
    return random_scene(rng, int(rng.choice([1, 2, 3], p=[0.65, 0.3, 0.05])), size)


def _draw_scene(job: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
    """Clips of a scene and its reference image."""
    index, clips, size = job
    scene = scene_of(index, size)
    renderer = Renderer(scene)
    rng = np.random.default_rng(77_000 + index)
    drawn = np.stack([draw_clip(scene, renderer, rng) for _ in range(clips)])
    return drawn, reference_image(scene)


def reference_image(scene: DrawnScene) -> Pixels:
    """The scene with everybody at rest: the reference image of a character."""
    people = len(scene.placements)
    still = np.zeros((people, 6), np.float32), np.zeros((people, 8), np.float32)
    return Renderer(scene).frame(*still, ["neutral"] * people, np.zeros(people))


def main(
    scenes: int = 432, cast_clips: int = 40, other_clips: int = 3, size: int = 256, jobs: int = 1
) -> None:
    """Draw `cast_clips` clips of each cast member and `other_clips` of each further scene."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    FOLDER.mkdir(parents=True, exist_ok=True)
    counts = [cast_clips if i < len(cast()) else other_clips for i in range(scenes)]
    shape = (sum(counts), FRAMES, size, size, 3)
    clips = np.lib.format.open_memmap(FOLDER / "clips.npy", "w+", np.uint8, shape)
    row, rest = 0, []
    with get_context("spawn").Pool(jobs) as pool:
        work = [(i, counts[i], size) for i in range(scenes)]
        for done, (drawn, reference) in enumerate(pool.imap(_draw_scene, work)):
            clips[row : row + len(drawn)] = drawn
            row += len(drawn)
            rest.append(reference)
            if done % 20 == 0:
                logger.info("%d of %d scenes", done, scenes)
    np.save(FOLDER / "rest.npy", np.stack(rest))
    all_scenes = [scene_of(i, size) for i in range(scenes)]
    about = {
        "scene": np.repeat(np.arange(scenes), counts).tolist(),
        "mouth_boxes": [[list(b) for b in s.mouth_boxes()] for s in all_scenes],
        "eye_boxes": [[list(b) for b in s.eye_boxes()] for s in all_scenes],
    }
    (FOLDER / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    typer.run(main)
