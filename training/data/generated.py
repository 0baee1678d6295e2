"""Latents that the transformer generates, with the true frames, to refine the decoder on.

    python -m training.data.generated && python -m training.train.autoencoder --refine

The shipped transformer denoises the training clips with the interactive schedule. Short clips are
kept of each: three latent frames in a row, and the true frames of the last two. A decoder refined
on them corrects the faults of a transformer of few steps: grain, and lips that are half open.
"""

from __future__ import annotations

import itertools
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from runtime.character.motion_cues import MOTION_CUES
from runtime.flow_matching import TIMESTEPS, euler_step, noise_levels
from runtime.models.dit.dit import DiT
from runtime.stream.presets import StreamPreset, find_preset
from runtime.values import EMOTIONS
from runtime.weights.checkpoint import load_builtin
from training.data.clips import LATENTS
from training.data.latent_clips import WindowSampler
from training.data.pictures import PictureClips, reference_image, scene_of
from training.drawing.people import Renderer
from training.run import RUNS, pick_device

FOLDER = RUNS / "generated"
CLIP_LATENTS = 3  # latent frames of a short clip
BLINK = MOTION_CUES.index("blink")
BLINKS = 12.0  # how much more often a blink is chosen: blinks are short and rare
GRID_TOKENS = 64
WINDOWS_AT_ONCE = {"cpu": 12, "cuda": LATENTS}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedClips:
    """Generated latents (N, 3, C, h, w) of short clips, and the last 8 true frames of each."""

    latents: NDArray[np.float16]
    pictures: PictureClips

    @classmethod
    def load(cls, folder: Path = FOLDER) -> GeneratedClips:
        shown = json.loads((folder / "about.json").read_text())["scene"]
        numbers = sorted(set(shown))
        scenes = [scene_of(number, 256) for number in numbers]
        pictures = PictureClips(
            np.load(folder / "pictures.npy"),
            np.array([numbers.index(number) for number in shown]),
            np.load(folder / "rest.npy"),
            [list(scene.mouth_boxes()) for scene in scenes],
            [list(scene.eye_boxes()) for scene in scenes],
        )
        return cls(np.load(folder / "latents.npy"), pictures)


@torch.inference_mode()
def denoise_clip(
    dit: DiT, sampler: WindowSampler, people: int, index: int, preset: StreamPreset, seed: int
) -> dict[int, Tensor]:
    """Generated latents (C, h, w) of a clip of `sampler`, by the number of the latent frame.

    As in a stream, the context of a window is the same level's output for earlier latent frames.
    With one new latent frame per tick and no shift, all windows of a level can run together.
    """
    if preset.hop != 1 or preset.shift:
        raise ValueError(
            f"The preset {preset.name} has hop {preset.hop} and shift {preset.shift}. Use one with "
            "hop 1 and shift 0."
        )
    device = torch.device(sampler.device)
    generator = torch.Generator(device).manual_seed(seed)
    shape = (LATENTS, *sampler.clips[people].latents.shape[1:])
    level = dict(enumerate(torch.randn(shape, generator=generator, device=device)))
    sigmas = noise_levels(preset.steps, preset.flow_shift).to(device)
    at_once = WINDOWS_AT_ONCE[device.type]
    for now, after in itertools.pairwise(sigmas):
        ends = [n for n in level if n - preset.window + 1 in level]
        velocities: dict[int, Tensor] = {}
        for first in range(0, len(ends), at_once):
            some = ends[first : first + at_once]
            starts = torch.tensor(some, device=device) - preset.window + 1
            clips = torch.full_like(starts, index)
            windows = sampler.windows(generator, people, clips, starts, preset.window, GRID_TOKENS)
            x = torch.stack([_window(level, end, preset.window) for end in some])
            t = (TIMESTEPS * now).expand(len(some))
            velocities |= dict(zip(some, dit(x, t, windows.cond)[:, :, -1], strict=True))
        level = {n: euler_step(level[n], v, now, after) for n, v in velocities.items()}
    return level


def _window(level: dict[int, Tensor], end: int, frames: int) -> Tensor:
    """Latents (C, T, h, w) of the `frames` latent frames up to `end`."""
    return torch.stack([level[n] for n in range(end - frames + 1, end + 1)], dim=1)


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of P people in the M short clips of a clip, 8 video frames each."""

    scene: int
    mouth: NDArray[np.float32]  # (M, 8, P, 6)
    cues: NDArray[np.float32]  # (M, 8, P, 8)
    emotions: list[str]
    strengths: NDArray[np.float32]  # (P,)


def motion_of(sampler: WindowSampler, people: int, index: int, picked: list[int]) -> Motion:
    """Motion in latent frames n - 1 and n of a clip, for each picked n (from 0)."""
    clips = sampler.clips[people]
    rows = LATENTS * index + torch.tensor([[n - 1, n] for n in picked], device=sampler.device)
    mouth, cues = (
        table[rows].flatten(1, 2).float().cpu().numpy() for table in (clips.mouth, clips.cues)
    )
    return Motion(
        clips.scene_numbers[index],
        mouth,
        cues,
        [EMOTIONS[number] for number in clips.emotions[index].tolist()],
        clips.strengths[index].float().cpu().numpy(),
    )


def draw_motion(motion: Motion) -> NDArray[np.uint8]:
    """True frames (M, 8, H, W, 3) of short clips."""
    renderer = Renderer(scene_of(motion.scene, 256))
    return np.stack(
        [
            renderer.frames(mouth, cues, motion.emotions, motion.strengths)
            for mouth, cues in zip(motion.mouth, motion.cues, strict=True)
        ]
    )


@dataclass
class ClipGenerator:
    """Generates short clips from training clips; threads share it."""

    dit: DiT
    sampler: WindowSampler
    per_clip: int  # short clips per training clip

    def make(self, people: int, index: int, seed: int) -> tuple[NDArray[np.float16], Motion]:
        """Latents (per_clip, 3, C, h, w) and the motion that they should show."""
        preset = find_preset("interactive")
        made = denoise_clip(self.dit, self.sampler, people, index, preset, seed)
        able = [n for n in made if n - CLIP_LATENTS + 1 in made]
        likely = 1.0 + BLINKS * self._blinks(people, index)[able]
        source = np.random.default_rng(seed)
        drawn = source.choice(able, self.per_clip, replace=False, p=likely / likely.sum())
        picked = [int(n) for n in drawn]
        latents = torch.stack([_window(made, n, CLIP_LATENTS).transpose(0, 1) for n in picked])
        motion = motion_of(self.sampler, people, index, picked)
        return latents.half().cpu().numpy(), motion

    def _blinks(self, people: int, index: int) -> NDArray[np.float32]:
        """How far the eyes of any person close in each latent frame of a clip, (L,), 0 .. 1."""
        cues = self.sampler.clips[people].cues[LATENTS * index : LATENTS * (index + 1)]
        lids: NDArray[np.float32] = cues[..., BLINK].amax((1, 2)).float().cpu().numpy()
        return lids


def main(clips: int = 200, per_clip: int = 8, jobs: int = 2) -> None:
    """Generate `per_clip` short clips from each of `clips` training clips, `jobs` at a time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    device = pick_device()
    model = load_builtin()
    config, prompt = model.dit.config, (model.prompt.states, model.prompt.pooled)
    sampler = WindowSampler(model.autoencoder, config, prompt, "train", device, dropping=False)
    every = [(people, i) for people, some in sampler.clips.items() for i in range(len(some))]
    picked = np.random.default_rng(0).permutation(len(every))[:clips]
    generator = ClipGenerator(model.dit.to(device), sampler, per_clip)
    threads = jobs if device == "cpu" else 1
    latents, motions = [], []
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for done, made in enumerate(pool.map(lambda i: generator.make(*every[i], int(i)), picked)):
            latents.append(made[0])
            motions.append(made[1])
            if done % 20 == 0:
                logger.info("%d of %d clips", done, len(picked))
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(FOLDER / "latents.npy", np.concatenate(latents))
    shown = [motion.scene for motion in motions for _ in range(per_clip)]
    with get_context("spawn").Pool(jobs) as processes:
        np.save(FOLDER / "pictures.npy", np.concatenate(processes.map(draw_motion, motions)))
        scenes = [scene_of(number, 256) for number in sorted(set(shown))]
        np.save(FOLDER / "rest.npy", np.stack(processes.map(reference_image, scenes)))
    (FOLDER / "about.json").write_text(json.dumps({"scene": shown}))


if __name__ == "__main__":
    typer.run(main)
