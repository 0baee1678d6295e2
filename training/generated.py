"""What the transformer really gives, beside the pictures that it should have become.

    python -m training.generated && python -m training.train_autoencoder --refine

Lets the shipped transformer denoise the sound of training clips by the interactive schedule and
keeps some moments of each: three latent frames in a row and the true pictures of the last two.
A decoder refined on them mends what a transformer of few steps leaves: grain, and lips that are
open halfway.
"""

from __future__ import annotations

import itertools
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from runtime.checkpoint import load_builtin
from runtime.models.dit import DiT
from runtime.presets import StreamPreset, find_preset
from runtime.sampler import TIMESTEPS, euler_step, noise_levels
from runtime.values import EMOTIONS
from training.latent_clips import Clip, WindowSampler
from training.people import Renderer
from training.pictures import PictureClips, rest_picture, scene_of
from training.run import RUNS

FOLDER = RUNS / "generated"
MOMENT = 3  # latent frames
GRID_TOKENS = 64
WINDOWS_AT_ONCE = 12
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedMoments:
    """Moments (N, 3, C, h, w) of generated latents, and clips of the last 8 true pictures."""

    latents: NDArray[np.float16]
    pictures: PictureClips

    @classmethod
    def load(cls, folder: Path = FOLDER) -> GeneratedMoments:
        shown = json.loads((folder / "about.json").read_text())["scene"]
        numbers = sorted(set(shown))
        scenes = [scene_of(number, 256) for number in numbers]
        pictures = PictureClips(
            np.load(folder / "pictures.npy"),
            np.array([numbers.index(number) for number in shown]),
            np.stack([rest_picture(scene) for scene in scenes]),
            [list(scene.mouth_boxes()) for scene in scenes],
            [list(scene.eye_boxes()) for scene in scenes],
        )
        return cls(np.load(folder / "latents.npy"), pictures)


@torch.inference_mode()
def denoise_clip(
    dit: DiT, sampler: WindowSampler, clip: Clip, preset: StreamPreset, seed: int
) -> dict[int, Tensor]:
    """Generated latents (C, h, w) of a clip's latent frames, by their number.

    As in a stream, each level's window sees what that level made of the frames before; with one
    new frame a tick and no shift, all windows of a level can be denoised together.
    """
    if preset.hop != 1 or preset.shift:
        raise ValueError(f"found preset {preset.name}, expected one with hop 1 and shift 0")
    rng = np.random.default_rng(seed)
    shape = clip["latents"].shape
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    level = dict(enumerate(noise))
    sigmas = noise_levels(preset.steps, preset.flow_shift)
    for now, after in itertools.pairwise(sigmas):
        ends = [n for n in level if n - preset.window + 1 in level]
        velocities: dict[int, Tensor] = {}
        for first in range(0, len(ends), WINDOWS_AT_ONCE):
            some = ends[first : first + WINDOWS_AT_ONCE]
            starts = np.array([n - preset.window + 1 for n in some])
            windows = sampler.windows(rng, [clip] * len(some), starts, preset.window, GRID_TOKENS)
            x = torch.stack([_window(level, int(start), preset.window) for start in starts])
            t = (TIMESTEPS * now).expand(len(some))
            velocities |= dict(zip(some, dit(x, t, windows.cond)[:, :, -1], strict=True))
        level = {n: euler_step(level[n], v, now, after) for n, v in velocities.items()}
    return level


def _window(level: dict[int, Tensor], start: int, frames: int) -> Tensor:
    """Latents (C, T, h, w) from `start` on."""
    return torch.stack([level[start + i] for i in range(frames)], dim=1)


def draw_moment(renderer: Renderer, clip: Clip, last: int) -> NDArray[np.uint8]:
    """True pictures (8, H, W, 3) of latent frames last - 1 and last of a clip (from 0)."""
    moods = [EMOTIONS[int(m)] for m in clip["moods"]]
    rows = slice(4 * last - 3, 4 * last + 5)  # its first latent frame is the stream's second
    mouth, cues, strengths = (clip[k].astype(np.float32) for k in ("mouth", "cues", "strengths"))
    return renderer.frames(mouth[rows], cues[rows], moods, strengths)


@dataclass
class MomentMaker:
    """Makes the moments of one clip after the other; threads share it."""

    dit: DiT
    sampler: WindowSampler
    moments: int  # a clip

    def make(self, clip: Clip, seed: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        """Latents (moments, 3, C, h, w) and pictures (moments, 8, H, W, 3)."""
        made = denoise_clip(self.dit, self.sampler, clip, find_preset("interactive"), seed)
        able = [n for n in made if n - MOMENT + 1 in made]
        picked = np.random.default_rng(seed).choice(able, self.moments, replace=False)
        renderer = Renderer(scene_of(int(clip["scene"]), 256))
        latents = [torch.stack([made[n - MOMENT + 1 + i] for i in range(MOMENT)]) for n in picked]
        pictures = [draw_moment(renderer, clip, int(n)) for n in picked]
        return torch.stack(latents).half().numpy(), np.stack(pictures)


def main(clips: int = 200, moments: int = 8, jobs: int = 2) -> None:
    """`moments` of each of `clips` training clips, `jobs` at a time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    model = load_builtin()
    prompt = (model.prompt.states, model.prompt.pooled)
    sampler = WindowSampler(model.autoencoder, model.dit.config, prompt, "train", dropping=False)
    every = [clip for people in sampler.clips.values() for clip in people]
    picked = np.random.default_rng(0).permutation(len(every))[:clips]
    maker = MomentMaker(model.dit, sampler, moments)
    latents, pictures, scenes = [], [], []
    with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for done, (index, made) in enumerate(
            zip(picked, pool.map(lambda i: maker.make(every[i], int(i)), picked), strict=True)
        ):
            latents.append(made[0])
            pictures.append(made[1])
            scenes += [int(every[index]["scene"])] * moments
            if done % 20 == 0:
                logger.info("%d of %d clips", done, len(picked))
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(FOLDER / "latents.npy", np.concatenate(latents))
    np.save(FOLDER / "pictures.npy", np.concatenate(pictures))
    (FOLDER / "about.json").write_text(json.dumps({"scene": scenes}))


if __name__ == "__main__":
    typer.run(main)
