"""What a stream computes once: the still picture, moods, masks, positions, prompt, noise levels."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.audio.features import WINDOW_SAMPLES, AudioFeatures
from runtime.character.character import Character
from runtime.character.motion_cues import idle_cues
from runtime.errors import BadInput
from runtime.flow_matching import TIMESTEPS, noise_levels
from runtime.models.dit.conditioning import Conditioning, StepInputs
from runtime.models.dit.rope import rope_freqs
from runtime.stream.active_tokens import moving_tokens
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.state import Mood
from runtime.stream.token_strip import TokenStrip
from runtime.timing import VIDEO_FPS
from runtime.values import Pixels

MOTION_EXPRESSION, MOTION_POSE = 30, 25  # the release's constants, raw integers
CUE_BLOCK = 64  # video frames whose cues are made at once


@dataclass(frozen=True, slots=True)
class Scene:
    """The constants of one stream."""

    still: Tensor  # (C, h, w): the latent frame of the unmoving picture
    moods: dict[str, Tensor]  # emotion references, (C, h, w) each
    decoder: Any  # its state before the first latent frame
    sigmas: Tensor  # (steps + 1,)
    steps: tuple[StepInputs, ...]
    conditions: Conditioning  # of a window in silence
    silence: Tensor  # (4, 10, layers, width): what a latent frame hears in silence
    strip: TokenStrip | None  # the tokens that can move, if not all

    def conditions_of(self, audio: Tensor, cues: Tensor, moods: tuple[Mood, ...]) -> Conditioning:
        """Conditions of one window: audio (S, F, 10, layers, width), cues (S, F, K)."""
        told = replace(self.conditions, audio=audio[None])
        if told.cues is not None:
            told = replace(told, cues=cues[None])
        if told.emotion_latents is not None:
            told = replace(
                told,
                emotion_latents=torch.stack([self.moods[mood.emotion] for mood in moods])[None],
                emotion_scale=torch.stack(
                    [self.sigmas.new_full((), mood.strength) for mood in moods]  # no copy from host
                )[None],
            )
        return told


@torch.inference_mode()
def make_scene(
    model: StreamModel, character: Character, preset: StreamPreset, features: AudioFeatures
) -> Scene:
    """Encodes the character's pictures and prepares all denoising steps of a stream."""
    picture = picture_tensor(character.pixels(), model)
    still = model.autoencoder.still(picture)
    moods = {"neutral": still[0]}
    if model.dit.config.emotion:
        for name in character.emotions:
            mood = picture_tensor(character.emotion_pixels(name), model)
            moods[name] = model.autoencoder.still(mood)[0]
    silence = features.encode(torch.zeros(1, WINDOW_SAMPLES, device=model.device))[0]
    sigmas = noise_levels(preset.steps, preset.flow_shift).to(model.device)
    conditions = _conditions(model, character, picture, silence, preset.window)
    with model.precision():
        steps = tuple(
            without_padding(model.dit.prepare_step(TIMESTEPS * sigma[None], conditions))
            for sigma in sigmas[:-1]
        )
    return Scene(
        still=still[0],
        moods=moods,
        decoder=model.autoencoder.start(picture),
        sigmas=sigmas,
        steps=steps,
        conditions=conditions,
        silence=silence,
        strip=moving_strip(model, character),
    )


def moving_strip(model: StreamModel, character: Character) -> TokenStrip | None:
    """The tokens that a stream denoises; None: all.

    Only a model that predicts a change to the picture may leave a token out: that is the picture.
    """
    config, (height, width) = model.dit.config, character.pixels().shape[:2]
    if config.prediction != "residual":
        return None
    rows, columns = (side // model.picture_multiple_px for side in (height, width))
    tokens = moving_tokens(character.boxes, rows, columns)
    if tokens is None:
        return None
    return TokenStrip(torch.tensor(tokens, device=model.device), config.patch_size, rows, columns)


def without_padding(step: StepInputs) -> StepInputs:
    """`step` with the text tokens that its mask counts as valid: no block then needs a mask."""
    if step.text_mask is None:
        return step
    return replace(step, text=step.text[:, : int(step.text_mask.sum())], text_mask=None)


def picture_tensor(pixels: Pixels, model: StreamModel) -> Tensor:
    """(1, 3, H, W) in [-1, 1], or BadInput when the model cannot take this size."""
    height, width = pixels.shape[:2]
    multiple = model.picture_multiple_px
    if height % multiple or width % multiple:
        raise BadInput(
            f"The picture is {width} x {height}; the model takes multiples of {multiple} px. "
            "Add the character again with `avatar characters add`.",
            param="picture",
        )
    scaled = torch.from_numpy(pixels.copy()).to(model.device).float() / 127.5 - 1
    return scaled.permute(2, 0, 1)[None]


def window_cues(seed: int, speakers: int, frames: range) -> NDArray[np.float32]:
    """Motion cues (S, F, K) of the video frames of a window."""
    first = frames.start // CUE_BLOCK
    blocks = range(first, (frames.stop - 1) // CUE_BLOCK + 1)
    start = frames.start - first * CUE_BLOCK
    return np.stack(
        [
            np.concatenate([_cue_block(seed, speaker, block) for block in blocks])[
                start : start + len(frames)
            ]
            for speaker in range(speakers)
        ]
    )


@lru_cache(maxsize=256)
def _cue_block(seed: int, speaker: int, block: int) -> NDArray[np.float32]:
    cues = idle_cues(seed, speaker, block * CUE_BLOCK, CUE_BLOCK)
    cues.setflags(write=False)
    return cues


def _conditions(
    model: StreamModel, character: Character, picture: Tensor, silence: Tensor, window: int
) -> Conditioning:
    config, device, prompt = model.dit.config, model.device, model.prompt_of(character)
    speakers, frames = len(character.speakers), config.audio_frame_count(window)
    reference = model.autoencoder.reference(picture, window)
    height, width = reference.shape[3:]
    rows, columns = height // config.patch_size[1], width // config.patch_size[2]
    cos, sin = rope_freqs(window, rows, columns, config.rope_dims, config.rope_theta)
    cues = torch.zeros(1, speakers, frames, config.motion_cues, device=device)
    masks = model.masks_of(character.boxes, height, width)
    emotion = reference[:, :, 0].unsqueeze(1).expand(1, speakers, -1, -1, -1)
    return Conditioning(
        text_states=prompt.states[None],
        text_mask=None if prompt.mask is None else prompt.mask[None],
        pooled_text=prompt.pooled[None],
        ref_latents=reference,
        audio=silence[-1].expand(1, speakers, frames, -1, -1, -1),
        face_masks=masks[None, :, None].to(device),
        motion_exp=torch.full((1, 4), MOTION_EXPRESSION, device=device),
        motion_pose=torch.full((1, 4), MOTION_POSE, device=device),
        fps=torch.full((1,), float(VIDEO_FPS), device=device),
        freqs_cos=cos.to(device),
        freqs_sin=sin.to(device),
        cues=cues if config.motion_cues else None,
        emotion_latents=emotion if config.emotion else None,
        emotion_scale=torch.ones(1, speakers, device=device) if config.emotion else None,
    )
