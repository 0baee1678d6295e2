"""The clips of `training.clips` in memory, and batches of windows cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from runtime.face_mask import face_masks
from runtime.models.autoencoder import Autoencoder
from runtime.models.conditioning import Conditioning
from runtime.models.config import DiTConfig
from runtime.models.rope import rope_freqs
from runtime.stream_scene import MOTION_EXPRESSION, MOTION_POSE
from runtime.timing import FRAMES_PER_LATENT
from runtime.values import EMOTIONS
from training.clips import LATENTS, clip_files
from training.people import Renderer
from training.pictures import Box, scene_of

Clip = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class SceneLatents:
    """What is fixed about one scene: (C, h, w) latents and maps on the latent grid."""

    reference: Tensor
    moods: Tensor  # (5, C, h, w): everybody in that mood, mouths shut
    masks: Tensor  # (P, h, w)
    mouth: Tensor  # (tokens,): how much of a token is mouth, 0 .. 1
    eyes: Tensor
    face: Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch of windows: clean latents (B, C, T, h, w), conditions, and where to look (B, n).

    `drawn_mouths` (B, T, S, 4 * 6): those of each latent frame's four video frames.
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


def _video_frames(start: int, latents: int) -> slice:
    """Rows of a clip's curves that belong to its latent frames from `start` on; row 0 to none."""
    return slice(1 + FRAMES_PER_LATENT * start, 1 + FRAMES_PER_LATENT * (start + latents))


@torch.no_grad()
def scene_latents(autoencoder: Autoencoder, index: int, patch: int) -> SceneLatents:
    scene = scene_of(index, 256)
    people = len(scene.placements)
    renderer = Renderer(scene)
    mouth, cues = np.zeros((people, 6), np.float32), np.zeros((people, 8), np.float32)
    pictures = np.stack(
        [renderer.frame(mouth, cues, [m] * people, np.ones(people)) for m in EMOTIONS]
    )
    still = autoencoder.still(
        rearrange(torch.from_numpy(pictures).float().div_(127.5).sub_(1.0), "m h w c -> m c h w")
    )
    height, width = still.shape[-2:]
    side = height // patch
    return SceneLatents(
        reference=still[0],
        moods=still,
        masks=face_masks(scene.boxes(), height, width, patch),
        mouth=_coverage(scene.mouth_boxes(), side),
        eyes=_coverage(scene.eye_boxes(), side),
        face=_coverage(scene.boxes(), side),
    )


class WindowSampler:
    """Windows of clips, all of one number of people; `dropping` conditions at random or none."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        config: DiTConfig,
        prompt: tuple[Tensor, Tensor],
        split: str,
        *,
        dropping: bool = True,
    ) -> None:
        self.config, self.prompt, self.dropping = config, prompt, dropping
        self.clips: dict[int, list[Clip]] = {1: [], 2: []}
        self.scenes: dict[int, SceneLatents] = {}
        for path in clip_files(split):
            with np.load(path) as archive:
                clip = {k: archive[k] for k in archive.files}
            people = len(clip["moods"])
            self.clips[people].append(clip)
            scene = int(clip["scene"])
            if scene not in self.scenes:
                self.scenes[scene] = scene_latents(autoencoder, scene, config.patch_size[1])

    def batch(
        self, rng: np.random.Generator, count: int, people: int, frames: int, tokens: int
    ) -> Windows:
        """`count` windows of `frames` latent frames; `tokens` of the grid, faces first."""
        picked = [self.clips[people][i] for i in rng.integers(len(self.clips[people]), size=count)]
        starts = rng.integers(0, LATENTS - frames + 1, size=count)
        return self.windows(rng, picked, starts, frames, tokens)

    def windows(
        self,
        rng: np.random.Generator,
        picked: list[Clip],
        starts: NDArray[np.int64],
        frames: int,
        tokens: int,
    ) -> Windows:
        """The windows of `frames` latent frames that begin at `starts` in the picked clips."""
        scenes = [self.scenes[int(c["scene"])] for c in picked]
        kept = self._tokens(rng, scenes, tokens)
        clean = [
            torch.from_numpy(c["latents"][s : s + frames])
            for c, s in zip(picked, starts, strict=True)
        ]
        mouths = [
            torch.from_numpy(c["mouth"][_video_frames(s, frames)])
            for c, s in zip(picked, starts, strict=True)
        ]
        return Windows(
            clean=rearrange(torch.stack(clean).float(), "b t c h w -> b c t h w"),
            drawn_mouths=rearrange(
                torch.stack(mouths).float(), "b (t f) s k -> b t s (f k)", f=FRAMES_PER_LATENT
            ),
            cond=self._conditions(rng, picked, starts, scenes, frames),
            tokens=kept,
            mouth=torch.stack([s.mouth for s in scenes])[:, kept],
            eyes=torch.stack([s.eyes for s in scenes])[:, kept],
        )

    def _tokens(self, rng: np.random.Generator, scenes: list[SceneLatents], count: int) -> Tensor:
        face = torch.stack([s.face for s in scenes]).mean(0)
        luck = torch.from_numpy(rng.random(len(face))).float()
        return (face + 0.35 * luck).topk(count).indices.sort().values

    def _conditions(
        self,
        rng: np.random.Generator,
        clips: list[Clip],
        starts: NDArray[np.int64],
        scenes: list[SceneLatents],
        frames: int,
    ) -> Conditioning:
        count, side = len(clips), scenes[0].reference.shape[-1] // self.config.patch_size[1]
        audio, cues = [], []
        for clip, start in zip(clips, starts, strict=True):
            variant = int(rng.integers(len(clip["features"])))
            deaf = self.dropping and rng.random() < 0.05
            heard = clip["features"][variant][:, start : start + frames]
            heard = rearrange(heard, "p t f ... -> p (t f) ...")
            audio.append(torch.from_numpy(heard * (not deaf)))
            cues.append(torch.from_numpy(clip["cues"][_video_frames(start, frames)]))
        moods = [torch.from_numpy(c["moods"]) for c in clips]
        scale = torch.stack([torch.from_numpy(c["strengths"]) for c in clips]).float()
        dropped = torch.from_numpy(rng.random((count, 1))) < 0.05 * self.dropping
        refs = [
            s.moods[int(rng.integers(5))] if rng.random() < 0.08 * self.dropping else s.reference
            for s in scenes
        ]
        cos, sin = rope_freqs(frames, side, side, self.config.rope_dims, self.config.rope_theta)
        states, pooled = self.prompt
        return Conditioning(
            text_states=states.expand(count, -1, -1),
            text_mask=None,
            pooled_text=pooled.expand(count, -1),
            ref_latents=torch.stack(refs)[:, :, None].expand(-1, -1, frames, -1, -1),
            audio=torch.stack(audio).float(),
            face_masks=torch.stack([s.masks for s in scenes])[:, :, None],
            motion_exp=torch.full((count, 4), MOTION_EXPRESSION),
            motion_pose=torch.full((count, 4), MOTION_POSE),
            fps=torch.full((count,), 25.0),
            freqs_cos=cos,
            freqs_sin=sin,
            cues=rearrange(torch.stack(cues).float(), "b f p k -> b p f k"),
            emotion_latents=torch.stack([s.moods[m] for s, m in zip(scenes, moods, strict=True)]),
            emotion_scale=scale.masked_fill(dropped, 0.0),
        )


def move(windows: Windows, device: str) -> Windows:
    """The same batch on another device."""
    fields = {f: getattr(windows.cond, f) for f in windows.cond.__dataclass_fields__}
    moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in fields.items()}
    return replace(
        windows,
        clean=windows.clean.to(device),
        drawn_mouths=windows.drawn_mouths.to(device),
        cond=Conditioning(**moved),
        tokens=windows.tokens.to(device),
        mouth=windows.mouth.to(device),
        eyes=windows.eyes.to(device),
    )
