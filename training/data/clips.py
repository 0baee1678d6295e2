"""Talking clips as latents, to train the video transformer on.

    python -m training.data.clips

For each clip the command synthesizes speech, encodes it with the trained audio encoder, predicts
the mouth from the features (predicted_mouth.py says why), draws a scene with these mouths and
random emotions, and encodes the frames with the trained autoencoder. It writes one file per clip
to training/runs/clips and resumes if it was stopped. Clips are cut from the middle of endless
talk: their first latent frame is not the first of a stream.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import typer
from einops import rearrange
from numpy.typing import NDArray

from runtime.audio.features import SpeakerAudio, audio_windows, encode_windows
from runtime.audio.windows import needed_samples
from runtime.character.motion_cues import idle_cues
from runtime.models.audio_encoder import AudioEncoder
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.timing import FRAMES_PER_LATENT, SAMPLE_RATE
from runtime.values import EMOTIONS
from training.data.pictures import scene_of
from training.data.predicted_mouth import MouthHead, load_head, predict_mouth
from training.drawing.cast import cast
from training.drawing.people import Renderer
from training.run import RUNS
from training.shipped import load_audio_encoder, load_autoencoder
from training.voices.sentences import Split
from training.voices.speech import augment, make_track

Floats = NDArray[np.float32]
FOLDER = RUNS / "clips"
LATENTS = 48  # latent frames per clip: 7.7 s
VARIANTS = 2  # versions of the sound: clean, and through a random microphone and room
EMOTION_SHARES = np.array([0.4, 0.15, 0.15, 0.15, 0.15])  # of clips, in the order of EMOTIONS
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Talk:
    """Speech and motion of the P people of one clip, for latent frames 1 .. LATENTS."""

    pcm: Floats  # (VARIANTS, P, N) at 16 kHz from sample 0; the first is clean
    cues: Floats  # (F, P, 8), F = 1 + 4 * LATENTS video frames
    emotions: list[str]
    strengths: Floats  # (P,)


def draw_talk(rng: np.random.Generator, people: int, split: Split = "train") -> Talk:
    """A random talk. Of several people mostly one speaks at a time."""
    frames = 1 + FRAMES_PER_LATENT * LATENTS
    samples = needed_samples(LATENTS)
    speaking = rng.random(people) < (0.92 if people == 1 else 0.1)
    speaking[int(rng.integers(people))] |= rng.random() < 0.92
    pcm = np.zeros((VARIANTS, people, samples), np.float32)
    for person in range(people):
        clean = np.zeros(samples, np.float32)
        if speaking[person]:
            said, _ = make_track(rng, samples / SAMPLE_RATE + 0.2, split)
            clean = said[:samples]
        for variant in range(VARIANTS):
            pcm[variant, person] = clean if variant == 0 else augment(clean, rng)
    cues = [
        idle_cues(int(rng.integers(1 << 31)), 0, int(rng.integers(50, 1 << 20)), frames)
        for _ in range(people)
    ]
    emotions = [str(rng.choice(EMOTIONS, p=EMOTION_SHARES)) for _ in range(people)]
    strengths = rng.choice([0.5, 1.0, 1.0], people).astype(np.float32)
    return Talk(pcm, np.stack(cues, axis=1), emotions, strengths)


def encode_audio(encoder: AudioEncoder, pcm: Floats) -> NDArray[np.float16]:
    """Features (LATENTS, 4, 10, layers, width) of latent frames 1 .. LATENTS, as in a stream."""
    audio = [SpeakerAudio(0, pcm)]
    windows = np.concatenate([audio_windows(audio, n) for n in range(1, LATENTS + 1)])
    return encode_windows(encoder, torch.from_numpy(windows)).half().numpy()


def mouths_of(head: MouthHead, speech: NDArray[np.float16]) -> Floats:
    """Mouths (F, P, 6) for features (P, LATENTS, 4, 10, layers, width); closed in frame 0."""
    mouths = [predict_mouth(head, features.reshape(-1, *features.shape[2:])) for features in speech]
    return np.pad(np.stack(mouths, axis=1), ((1, 0), (0, 0), (0, 0)))


def draw_latents(
    autoencoder: Autoencoder, scene_index: int, talk: Talk, mouth: Floats
) -> NDArray[np.float16]:
    """The latents (LATENTS, C, h, w) of the clip drawn with mouths (F, P, 6)."""
    renderer = Renderer(scene_of(scene_index, 256))
    latents = []
    for n in range(1, LATENTS + 1):
        rows = slice(4 * n - 3, 4 * n + 1)
        frames = renderer.frames(mouth[rows], talk.cues[rows], talk.emotions, talk.strengths)
        group = torch.from_numpy(frames).float().div_(127.5).sub_(1.0)
        latents.append(autoencoder.encode_groups(rearrange(group, "f h w c -> 1 1 c f h w")))
    return torch.cat(latents, dim=2)[0].transpose(0, 1).half().numpy()


@cache
def _models() -> tuple[Autoencoder, AudioEncoder, MouthHead]:
    torch.set_num_threads(1)
    return load_autoencoder(), load_audio_encoder(), load_head()


@torch.inference_mode()
def _make(job: tuple[int, int, Split]) -> int:
    index, scene_index, split = job
    path = FOLDER / split / f"{index:05d}.npz"
    if path.exists():
        return index
    autoencoder, encoder, head = _models()
    rng = np.random.default_rng([index, len(split)])
    people = len(scene_of(scene_index, 256).placements)
    talk = draw_talk(rng, people, split)
    speech = np.stack([[encode_audio(encoder, pcm) for pcm in version] for version in talk.pcm])
    mouth = mouths_of(head, speech[0])
    fresh = path.with_suffix(".new.npz")
    np.savez(
        fresh,
        latents=draw_latents(autoencoder, scene_index, talk, mouth),
        features=speech,  # (VARIANTS, P, LATENTS, 4, 10, layers, width)
        mouth=mouth,
        cues=talk.cues.astype(np.float16),
        moods=np.array([EMOTIONS.index(name) for name in talk.emotions]),
        strengths=talk.strengths,
        scene=np.array(scene_index),
    )
    fresh.replace(path)
    return index


def main(cast_clips: int = 16, other_scenes: int = 160, held_out: int = 32, jobs: int = 2) -> None:
    """Make `cast_clips` clips per cast member, one per other scene, and `held_out` test clips."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    members = len(cast())
    every = [*np.repeat(np.arange(members), cast_clips), *range(members, members + other_scenes)]
    scenes = [int(s) for s in np.random.default_rng(5).permutation(every)]
    scenes = [s for s in scenes if len(scene_of(s, 256).placements) <= 2]
    work: list[tuple[int, int, Split]] = [(i, i % members, "test") for i in range(held_out)]
    work += [(i, s, "train") for i, s in enumerate(scenes)]
    for split in ("train", "test"):
        (FOLDER / split).mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(jobs) as pool:
        for done, _ in enumerate(pool.imap_unordered(_make, work)):
            if done % 20 == 0:
                logger.info("%d of %d clips", done, len(work))


def clip_files(split: str) -> list[Path]:
    return sorted(p for p in (FOLDER / split).glob("*.npz") if ".new" not in p.name)


if __name__ == "__main__":
    typer.run(main)
