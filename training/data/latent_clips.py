"""The clips of `training.data.clips` in memory, and batches of windows cut from them.

All data and the random generators are on the training device, as tables with one row per latent
frame. A batch is a few look-ups, without a wait for the device.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from runtime.character.face_mask import face_masks
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.models.dit.conditioning import Conditioning
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.rope import rope_freqs
from runtime.stream.constants import MOTION_EXPRESSION, MOTION_POSE
from runtime.timing import FRAMES_PER_LATENT
from runtime.values import EMOTIONS
from training.data.clips import LATENTS, clip_files
from training.data.pictures import Box, scene_of
from training.drawing.people import Renderer

READERS = 16  # threads that read clips
FEW_SCENES = 100  # up to this many are drawn faster than processes start


@dataclass(frozen=True, slots=True)
class SceneLatents:
    """Fixed data of N scenes of P people: reference latents, and maps on the latent grid."""

    emotions: Tensor  # (N * 5, C, h, w): each emotion, mouths closed; the first is neutral
    masks: Tensor  # (N, P, h, w)
    mouth: Tensor  # (N, tokens): the share of a token that is mouth, 0 .. 1
    eyes: Tensor
    face: Tensor


@dataclass(frozen=True, slots=True)
class Clips:
    """N clips of P people each, in tables with one row per latent frame (L = LATENTS per clip)."""

    latents: Tensor  # (N * L, C, h, w); latents, features and cues in half precision
    features: Tensor  # (N * variants * L, P, 4, 10, layers, width)
    mouth: Tensor  # (N * L, 4, P, 6): of a latent frame's four video frames
    cues: Tensor  # (N * L, 4, P, 8)
    emotions: Tensor  # (N, P): indices into EMOTIONS
    strengths: Tensor  # (N, P)
    scene: Tensor  # (N,): an index into `scenes`
    scenes: SceneLatents
    scene_numbers: list[int]  # of each clip, for `scene_of`

    def __len__(self) -> int:
        return len(self.scene_numbers)

    @property
    def variants(self) -> int:
        return len(self.features) // len(self.latents)


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch of windows: clean latents (B, C, T, h, w), conditioning, and per-token maps (B, n).

    `drawn_mouths` (B, T, S, 4 * 6): the mouths of the four video frames of each latent frame.
    """

    clean: Tensor
    drawn_mouths: Tensor
    cond: Conditioning
    tokens: Tensor
    mouth: Tensor
    eyes: Tensor


def _coverage(boxes: Sequence[Box], side: int) -> Tensor:
    """Share of each cell of a side x side grid that the boxes cover, flattened."""
    fine = np.zeros((side * 8, side * 8), np.float32)
    for x, y, w, h in boxes:
        x0, y0, x1, y1 = (round(v * side * 8) for v in (x, y, x + w, y + h))
        fine[max(y0, 0) : y1, max(x0, 0) : x1] = 1
    return torch.from_numpy(fine.reshape(side, 8, side, 8).mean((1, 3)).flatten())


def emotion_images(index: int) -> NDArray[np.uint8]:
    """A scene (5, H, W, 3) with everybody in each emotion, mouths closed."""
    scene = scene_of(index, 256)
    people = len(scene.placements)
    renderer = Renderer(scene)
    mouth, cues = np.zeros((people, 6), np.float32), np.zeros((people, 8), np.float32)
    full = np.ones(people)
    return np.stack([renderer.frame(mouth, cues, [name] * people, full) for name in EMOTIONS])


def draw_emotions(numbers: list[int]) -> list[NDArray[np.uint8]]:
    """`emotion_images` of each scene."""
    if len(numbers) <= FEW_SCENES:
        return [emotion_images(number) for number in numbers]
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        return pool.map(emotion_images, numbers, chunksize=8)


@torch.no_grad()
def load_scenes(
    autoencoder: Autoencoder, numbers: list[int], patch: int, device: str
) -> SceneLatents:
    """The scenes of these numbers, all with the same number of people."""
    emotions = []
    for images in draw_emotions(numbers):
        signed = torch.from_numpy(images).to(device).float().div_(127.5).sub_(1.0)
        emotions.append(autoencoder.still(rearrange(signed, "e h w c -> e c h w")))
    height, width = emotions[0].shape[-2:]
    side = height // patch
    scenes = [scene_of(number, 256) for number in numbers]
    return SceneLatents(
        emotions=torch.cat(emotions),
        masks=torch.stack([face_masks(s.boxes(), height, width, patch) for s in scenes]).to(device),
        mouth=torch.stack([_coverage(s.mouth_boxes(), side) for s in scenes]).to(device),
        eyes=torch.stack([_coverage(s.eye_boxes(), side) for s in scenes]).to(device),
        face=torch.stack([_coverage(s.boxes(), side) for s in scenes]).to(device),
    )


def _by_latent(curves: Tensor) -> Tensor:
    """Curves (1 + 4 L, ...) of video frames as (L, 4, ...); row 0 belongs to no latent frame."""
    return torch.unflatten(curves[1:], 0, (-1, FRAMES_PER_LATENT))


def _read(path: Path, device: str) -> dict[str, Tensor]:
    """The tables of one clip on the device, as in `Clips`."""
    with np.load(path) as archive:
        clip = {k: torch.from_numpy(archive[k]) for k in archive.files}
    return {
        "latents": clip["latents"].to(device),
        "features": clip["features"].to(device).transpose(1, 2).flatten(0, 1),
        "mouth": _by_latent(clip["mouth"]).to(device),
        "cues": _by_latent(clip["cues"]).to(device),
        "emotions": clip["moods"][None].to(device),
        "strengths": clip["strengths"][None].to(device),
        "scene": clip["scene"],
    }


def load_clips(autoencoder: Autoencoder, split: str, patch: int, device: str) -> dict[int, Clips]:
    """The clips of a split, by their number of people."""
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(lambda path: _read(path, device), clip_files(split)))
    by_people: dict[int, list[dict[str, Tensor]]] = {}
    for clip in read:
        by_people.setdefault(clip["emotions"].shape[1], []).append(clip)
    del read
    autoencoder = autoencoder.to(device)
    result = {}
    for people, clips in by_people.items():
        shown = [int(clip.pop("scene")) for clip in clips]
        numbers = sorted(set(shown))
        tables = {k: torch.cat([clip.pop(k) for clip in clips]) for k in list(clips[0])}
        result[people] = Clips(
            **tables,
            scene=torch.tensor([numbers.index(number) for number in shown]).to(device),
            scenes=load_scenes(autoencoder, numbers, patch, device),
            scene_numbers=shown,
        )
    return result


def rows_of(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of a table, (*rows.shape, ...)."""
    return torch.unflatten(table.index_select(0, rows.flatten()), 0, rows.shape)


@cache
def _positions(config: DiTConfig, frames: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    cos, sin = rope_freqs(frames, side, side, config.rope_dims, config.rope_theta)
    return cos.to(device), sin.to(device)


class WindowSampler:
    """Cuts windows of clips. With `dropping` some conditions are left out at random.

    Generators must be on the sampler's device.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        config: DiTConfig,
        prompt: tuple[Tensor, Tensor],
        split: str,
        device: str = "cpu",
        *,
        dropping: bool = True,
    ) -> None:
        self.config, self.device, self.dropping = config, device, dropping
        self.prompt = tuple(part.to(device) for part in prompt)
        self.clips = load_clips(autoencoder, split, config.patch_size[1], device)

    def batch(
        self, generator: torch.Generator, count: int, people: int, frames: int, tokens: int
    ) -> Windows:
        """`count` random windows of `frames` latent frames; `tokens` of the grid, faces first."""
        picked = self._integers(generator, len(self.clips[people]), count)
        starts = self._integers(generator, LATENTS - frames + 1, count)
        return self.windows(generator, people, picked, starts, frames, tokens)

    def windows(
        self,
        generator: torch.Generator,
        people: int,
        picked: Tensor,
        starts: Tensor,
        frames: int,
        tokens: int,
    ) -> Windows:
        """Windows of `frames` latent frames that begin at `starts` (B,) in clips `picked` (B,)."""
        clips = self.clips[people]
        scene = clips.scene[picked]
        kept = self._tokens(generator, clips.scenes.face[scene], tokens)
        within = starts[:, None] + torch.arange(frames, device=self.device)
        rows = LATENTS * picked[:, None] + within
        return Windows(
            clean=rearrange(rows_of(clips.latents, rows), "b t c h w -> b c t h w").float(),
            drawn_mouths=rearrange(rows_of(clips.mouth, rows), "b t f s k -> b t s (f k)").float(),
            cond=self._conditions(generator, clips, picked, within),
            tokens=kept,
            mouth=clips.scenes.mouth[scene][:, kept],
            eyes=clips.scenes.eyes[scene][:, kept],
        )

    def _integers(self, generator: torch.Generator, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=generator, device=self.device)

    def _chances(self, generator: torch.Generator, count: int, chance: float) -> Tensor:
        """True (count,) with probability `chance`; all False if conditions are not dropped."""
        luck = torch.rand(count, generator=generator, device=self.device)
        return luck < chance * self.dropping

    def _tokens(self, generator: torch.Generator, faces: Tensor, count: int) -> Tensor:
        luck = torch.rand(faces.shape[1], generator=generator, device=self.device)
        return (faces.mean(0) + 0.35 * luck).topk(count).indices.sort().values

    def _conditions(
        self, generator: torch.Generator, clips: Clips, picked: Tensor, within: Tensor
    ) -> Conditioning:
        """Conditioning of latent frames `within` (B, T) of clips `picked` (B,)."""
        (count, frames), scenes = within.shape, clips.scenes
        scene, emotions = clips.scene[picked], clips.emotions[picked]
        variant = clips.variants * picked + self._integers(generator, clips.variants, count)
        audio = rows_of(clips.features, LATENTS * variant[:, None] + within).float()
        no_audio = self._chances(generator, count, 0.05)
        cues = rows_of(clips.cues, LATENTS * picked[:, None] + within).float()
        emotional = self._chances(generator, count, 0.08)  # reference images that are not neutral
        shown = self._integers(generator, len(EMOTIONS), count) * emotional
        reference = rows_of(scenes.emotions, len(EMOTIONS) * scene + shown)
        no_emotion = self._chances(generator, count, 0.05)
        side = reference.shape[-1] // self.config.patch_size[1]
        cos, sin = _positions(self.config, frames, side, self.device)
        states, pooled = self.prompt
        return Conditioning(
            text_states=states.expand(count, -1, -1),
            text_mask=None,
            pooled_text=pooled.expand(count, -1),
            ref_latents=reference[:, :, None].expand(-1, -1, frames, -1, -1),
            audio=rearrange(audio, "b t p f ... -> b p (t f) ...").masked_fill(
                no_audio.view(-1, 1, 1, 1, 1, 1), 0.0
            ),
            face_masks=scenes.masks[scene][:, :, None],
            motion_exp=torch.full((count, 4), MOTION_EXPRESSION, device=self.device),
            motion_pose=torch.full((count, 4), MOTION_POSE, device=self.device),
            fps=torch.full((count,), 25.0, device=self.device),
            freqs_cos=cos,
            freqs_sin=sin,
            cues=rearrange(cues, "b t f p k -> b p (t f) k"),
            emotion_latents=rows_of(scenes.emotions, len(EMOTIONS) * scene[:, None] + emotions),
            emotion_scale=clips.strengths[picked].float().masked_fill(no_emotion[:, None], 0.0),
        )
