"""Clips of the released model: a reference image and voices in, an mp4 out.

    make_clips(jobs, choice, report)

All inputs are read and all encoders run before the transformer is loaded. So mistakes show early,
and no two large models are in memory at once. Each clip is saved after every step
(`saved_clip.py`); the same call, made again, resumes there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from runtime.character.picture_file import read_picture
from runtime.errors import BadInput, CheckpointError
from runtime.hunyuan.encoders.embedding_cache import EmbeddingCache, content_hash, folder_identity
from runtime.hunyuan.encoders.loadable import Encoders, release_encoders
from runtime.hunyuan.encoders.preprocess import IMAGE_SIZE, Size
from runtime.hunyuan.encoders.prompts import Prompts
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.offline.conditions import ClipConditions, ClipRequest, prepare
from runtime.hunyuan.offline.guided_dit import GuidedDiT
from runtime.hunyuan.offline.loaded_model import LoadedModel, ModelChoice, load_model
from runtime.hunyuan.offline.sampler import Clip, OfflineSettings, advance, draw_noise, start_clip
from runtime.hunyuan.offline.saved_clip import SavedClip
from runtime.hunyuan.offline.schedule import ReleasePlan, latents_kept, uses_cache
from runtime.hunyuan.vae.autoencoder import ReleasedVae
from runtime.media_files.generate import Voices, read_voices
from runtime.media_files.mp4 import VideoFileWriter
from runtime.media_files.outputs import check_video_output
from runtime.timing import OUTPUT_RATE, VIDEO_FPS
from runtime.values import Box

SEED = 128  # of the release's scripts
CACHED_STEP_WORK = 0.03  # of a full step's: one block of sixty, and the embeddings
DECODED_AT_ONCE = 12  # latent frames, as many as a further tile of the autoencoder takes
DIGITS_SHOWN = 12  # of a SHA-256

logger = logging.getLogger(__name__)

Stage = Literal["conditions", "sampling", "video"]


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One video to make; fields as in `ClipRequest`. Voice i moves face i."""

    image: Path
    voices: tuple[Path, ...]
    out: Path
    faces: tuple[Box, ...] = ()
    prompts: Prompts = field(default_factory=Prompts)
    image_size: int = IMAGE_SIZE
    size: Size | None = None
    fps: float = VIDEO_FPS
    seed: int = SEED
    sampling: OfflineSettings = field(default_factory=OfflineSettings)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a clip is in a stage; sampling counts full steps."""

    job: ClipJob
    stage: Stage
    done: float
    total: float


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job with the content of its files."""

    job: ClipJob
    picture: Image.Image
    voices: Voices
    saved: SavedClip


def make_clips(jobs: Sequence[ClipJob], choice: ModelChoice, report: Report) -> None:
    """Writes the video of each job. Raises AvatarError, if possible before the first step."""
    check_outputs(jobs)
    read = [read_job(job, choice) for job in jobs]
    encoders = release_encoders(
        choice.weights, choice.device, choice.other_dtype, choice.face_models
    )
    cache = EmbeddingCache(choice.embeddings) if choice.embeddings else None
    clips = [(one, prepare_clip(one, encoders, cache, report)) for one in read]
    model = load_model(choice)
    for one, conditions in clips:
        latents = sample_clip(one, conditions, model, report)
        write_video(one, conditions, latents, model.vae, report)
        one.saved.remove()


def check_outputs(jobs: Sequence[ClipJob]) -> None:
    """Refuses outputs that are no videos, cannot be written or are inputs, and two of one name."""
    inputs = [file for job in jobs for file in (job.image, *job.voices)]
    seen: set[Path] = set()
    for job in jobs:
        check_video_output(job.out, inputs)
        if job.out.resolve() in seen:
            raise BadInput(f"Two jobs write {job.out}. Give each job another output.", param="out")
        seen.add(job.out.resolve())


def read_job(job: ClipJob, choice: ModelChoice) -> ReadJob:
    """Reads picture and voices. BadInput if a saved clip was begun with other settings."""
    picture = read_picture(job.image, param="image")
    voices = read_voices({str(index): file for index, file in enumerate(job.voices)})
    for note in voices.notes:
        logger.warning(note)
    saved = SavedClip(job.out, settings_of(job, choice), job.sampling.steps)
    saved.finished_steps()
    return ReadJob(job, picture, voices, saved)


def settings_of(job: ClipJob, choice: ModelChoice) -> Mapping[str, str]:
    """Everything that decides the latents of a job; files by the first digits of their SHA-256."""
    sampling = job.sampling
    loras = [f"{_digest(lora.file)}:{lora.strength:g}" for lora in choice.loras]
    weights = folder_identity(ReleasedLayout.find(choice.weights).dit)[:DIGITS_SHOWN]
    return {
        "image": _digest(job.image),
        "audio": " ".join(map(_digest, job.voices)),
        "faces": " ".join(str(tuple(box)) for box in job.faces) or "found",
        "prompt": job.prompts.positive,
        "negative prompt": job.prompts.negative,
        "size": f"{job.size.width}x{job.size.height}" if job.size else str(job.image_size),
        "fps": f"{job.fps:g}",
        "seed": str(job.seed),
        "steps": str(sampling.steps),
        "guidance": f"{sampling.guidance_scale:g}",
        "flow shift": f"{sampling.flow_shift:g}",
        "rounding": str(sampling.rounding),
        "weights": f"{weights} {choice.form}",
        "dtype": str(choice.dtype),
        "lora": " ".join(loras) or "none",
    }


def prepare_clip(
    read: ReadJob, encoders: Encoders, cache: EmbeddingCache | None, report: Report
) -> ClipConditions:
    """Runs the encoders; each is unloaded after its use."""
    job = read.job
    report(Progress(job, "conditions", 0, 1))
    request = ClipRequest(
        read.picture,
        tuple(read.voices.by_speaker.values()),
        job.faces,
        job.prompts,
        job.image_size,
        job.size,
        job.fps,
    )
    conditions = prepare(request, encoders, cache)
    report(Progress(job, "conditions", 1, 1))
    return conditions


def sample_clip(
    read: ReadJob, conditions: ClipConditions, model: LoadedModel, report: Report
) -> Tensor:
    """The latents (1, C, T, h, w) to decode; resumes after the last saved step."""
    settings, frames = read.job.sampling, conditions.audio.shape[1]
    plan = ReleasePlan.of_clip(frames)
    denoiser = GuidedDiT(
        model.dit, conditions, plan, settings.steps, settings.is_guided, model.placement
    )
    device = model.placement.device
    clip = read.saved.load(denoiser.cache) or _first_clip(read.job, conditions, plan, device)
    clip = Clip(clip.step, clip.latents.to(device))
    while True:
        done, total = work_of(clip.step), work_of(settings.steps)
        report(Progress(read.job, "sampling", done, total))
        if clip.step == settings.steps:
            return clip.latents[:, :, : latents_kept(frames)]
        clip = advance(clip, denoiser, plan, settings)
        check_finite(clip)
        read.saved.save(clip, denoiser.cache)


def check_finite(clip: Clip) -> None:
    """CheckpointError for latents with NaN or infinite values, before they are saved."""
    if not bool(clip.latents.isfinite().all()):
        raise CheckpointError(
            f"Step {clip.step} gave values that are not finite. The weights are damaged (run "
            "`avatar weights check`), or a LoRA is too strong."
        )


def work_of(steps: int) -> float:
    """The work of the first `steps` steps, in full steps."""
    return sum(CACHED_STEP_WORK if uses_cache(step) else 1 for step in range(steps))


def write_video(
    read: ReadJob, conditions: ClipConditions, latents: Tensor, vae: ReleasedVae, report: Report
) -> None:
    """Decodes tile by tile into the video, which appears under its name once it is complete."""
    fps, total = Fraction(conditions.fps), conditions.audio_frames
    samples = int(OUTPUT_RATE / fps)
    size = conditions.size
    frames = vae.decode_stream(torch.split(latents, DECODED_AT_ONCE, dim=2))
    with VideoFileWriter(read.job.out, size.width, size.height, fps) as video:
        for index, pixels in enumerate(islice(frames, total)):
            start = index * samples
            video.write(pixels, read.voices.mixed[start : start + samples])
            report(Progress(read.job, "video", index + 1, total))


def _first_clip(
    job: ClipJob, conditions: ClipConditions, plan: ReleasePlan, device: torch.device
) -> Clip:
    channels, _, height, width = conditions.ref_latents.shape[1:]
    shape = (channels, height, width)
    noise = draw_noise(conditions.audio.shape[1], shape, job.seed, device)
    return start_clip(noise, plan)


def _digest(file: Path) -> str:
    if not file.is_file():
        raise BadInput(f"There is no file {file}. Check the path.")
    return content_hash([file.read_bytes()])[:DIGITS_SHOWN]
