"""The denoiser's inputs beside the latents: what a stream computes once, and for each window."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.audio.features import FeatureEncoder, check_encoder, encode_windows
from runtime.audio.windows import WINDOW_SAMPLES
from runtime.character.character import Character
from runtime.character.motion_cues import idle_cues
from runtime.errors import BadInput
from runtime.flow_matching import TIMESTEPS, noise_levels
from runtime.models.dit.conditioning import Conditioning, StepInputs, WindowInputs
from runtime.models.dit.rope import rope_freqs
from runtime.stream.active_tokens import ActiveTokens, find_active_tokens
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.readback import to_device
from runtime.stream.state import SpeakerEmotion
from runtime.timing import FRAMES_PER_LATENT, VIDEO_FPS
from runtime.values import Pixels

MOTION_EXPRESSION, MOTION_POSE = 30, 25  # the release's constants, raw integers
CUE_BLOCK = 64  # video frames whose cues are computed at once


@dataclass(frozen=True, slots=True)
class StreamConstants:
    """What a stream computes once, from its model, character and preset."""

    still: Tensor  # (C, h, w): the latent frame of the reference image at rest
    emotion_references: dict[str, Tensor]  # by emotion, (C, h, w) each
    decoder_state: Any  # before the first latent frame
    sigmas: Tensor  # (steps + 1,)
    steps: tuple[StepInputs, ...]
    conditions: Conditioning  # of a window of silence
    silence: Tensor  # (4, 10, layers, width): the audio features of a latent frame of silence
    active_tokens: ActiveTokens | None  # None: all tokens are active

    def conditions_of(
        self, audio: Tensor, cues: Tensor, emotions: tuple[SpeakerEmotion, ...]
    ) -> Conditioning:
        """Conditions of one window: audio (S, F, 10, layers, width), cues (S, F, K)."""
        conditions = replace(self.conditions, audio=audio[None])
        if conditions.cues is not None:
            conditions = replace(conditions, cues=cues[None])
        if conditions.emotion_latents is not None:
            references = [self.emotion_references[emotion.name] for emotion in emotions]
            conditions = replace(
                conditions,
                emotion_latents=torch.stack(references)[None],
                emotion_scale=torch.stack(
                    [
                        self.sigmas.new_full((), one.strength) for one in emotions
                    ]  # no copy from host
                )[None],
            )
        return conditions


@torch.inference_mode()
def stream_constants(
    model: StreamModel, character: Character, preset: StreamPreset, encoder: FeatureEncoder
) -> StreamConstants:
    """Encodes the character's images and prepares all denoising steps of a stream."""
    check_encoder(encoder)
    image = image_tensor(character.picture.pixels, model)
    still = model.autoencoder.still(image)
    references = {"neutral": still[0]}
    if model.dit.config.emotion:
        for name in character.emotions:
            reference = image_tensor(character.emotion_picture(name).pixels, model)
            references[name] = model.autoencoder.still(reference)[0]
    silence = encode_windows(encoder, torch.zeros(1, WINDOW_SAMPLES, device=model.device))[0]
    sigmas = noise_levels(preset.steps, preset.flow_shift).to(model.device)
    conditions = _conditions(model, character, image, silence, preset.window)
    with model.precision():
        steps = tuple(
            without_padding(model.dit.prepare_step(TIMESTEPS * sigma[None], conditions))
            for sigma in sigmas[:-1]
        )
    return StreamConstants(
        still=still[0],
        emotion_references=references,
        decoder_state=model.autoencoder.start(image),
        sigmas=sigmas,
        steps=steps,
        conditions=conditions,
        silence=silence,
        active_tokens=active_tokens_of(model, character),
    )


class WindowConditioning:
    """Computes the inputs of a stream's windows."""

    def __init__(
        self, model: StreamModel, constants: StreamConstants, preset: StreamPreset, seed: int
    ) -> None:
        self._model = model
        self._constants = constants
        self._preset = preset
        self._seed = seed
        self._device = model.device
        self._video_frames = model.dit.config.audio_frame_count(preset.window)
        self._cached: tuple[tuple[SpeakerEmotion, ...], WindowInputs] | None = None

    def inputs(
        self,
        window: range,
        audio_features: Mapping[int, Tensor],
        emotions: tuple[SpeakerEmotion, ...],
    ) -> WindowInputs:
        """The denoiser's inputs for a window of latent frames; they are the same at every step."""
        silence = self._constants.silence.expand(len(emotions), -1, -1, -1, -1)
        features = [audio_features[n] if n >= 0 else silence for n in window]
        frames = newest_frames(window, self._video_frames)
        cues = torch.from_numpy(window_cues(self._seed, len(emotions), frames))
        conditions = self._constants.conditions_of(
            torch.cat(features, dim=1)[:, -self._video_frames :],
            to_device(cues, self._device),
            emotions,
        )
        with self._model.precision():
            audio = self._model.dit.audio_keys_values(conditions, len(window))
            return replace(self._without_audio(conditions, emotions), audio=audio)

    def _without_audio(
        self, conditions: Conditioning, emotions: tuple[SpeakerEmotion, ...]
    ) -> WindowInputs:
        """Window conditioning without audio, cached until an emotion changes."""
        if self._cached is None or self._cached[0] != emotions:
            active = self._constants.active_tokens
            tokens = None if active is None else active.tokens
            window = self._model.dit.prepare_window(conditions, self._preset.window, tokens)
            self._cached = emotions, replace(window, tokens=None, newest=self._preset.hop)
        return self._cached[1]


def active_tokens_of(model: StreamModel, character: Character) -> ActiveTokens | None:
    """The tokens that a stream denoises; None: all.

    Only a model that predicts a change to the reference image may leave a token out: it then stays
    the image.
    """
    config, image = model.dit.config, character.picture
    if config.prediction != "residual":
        return None
    rows, columns = (side // model.picture_multiple_px for side in (image.height, image.width))
    tokens = find_active_tokens(character.boxes, rows, columns)
    if tokens is None:
        return None
    return ActiveTokens.on_grid(tokens, rows, columns, config.patch_size[1:]).to(model.device)


def without_padding(step: StepInputs) -> StepInputs:
    """`step` with only the text tokens that its mask marks valid: no block then needs a mask."""
    if step.text_mask is None:
        return step
    return replace(step, text=step.text[:, : int(step.text_mask.sum())], text_mask=None)


def image_tensor(pixels: Pixels, model: StreamModel) -> Tensor:
    """(1, 3, H, W) in [-1, 1]; BadInput if the model cannot take this size."""
    height, width = pixels.shape[:2]
    multiple = model.picture_multiple_px
    if height % multiple or width % multiple:
        raise BadInput(
            f"The picture is {width} x {height}, but this model takes multiples of {multiple} px. "
            "Add the character again with `avatar characters add`.",
            param="picture",
        )
    scaled = torch.from_numpy(pixels.copy()).to(model.device).float() / 127.5 - 1
    return scaled.permute(2, 0, 1)[None]


def newest_frames(latents: range, count: int) -> range:
    """The last `count` video frames of those that belong to `latents`: n has 4n-3 .. 4n.

    `DiTConfig.audio_frame_count` is the count for a model's windows.
    """
    last = FRAMES_PER_LATENT * (latents.stop - 1)
    return range(last + 1 - count, last + 1)


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
    model: StreamModel, character: Character, image: Tensor, silence: Tensor, window: int
) -> Conditioning:
    config, device, prompt = model.dit.config, model.device, model.prompt_of(character)
    speakers, frames = len(character.speakers), config.audio_frame_count(window)
    reference = model.autoencoder.reference(image, window)
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
