"""HunyuanVideo-Avatar's video transformer (MM-DiT), with the names of the released state dict.

The order of tokens is [reference | video | text]. The reference is the reference image's first
latent frame, at time -1; the image is also added to every video token (`image_injection` has the
paper's other variants). One call is

    step = dit.prepare_step(t, cond)          per timestep and prompt
    window = dit.prepare_window(cond, T)      per window
    out = dit.denoise(x, step, window)        the transformer itself

and `dit(x, t, cond)` runs all three and returns the velocity. Flow convention: sigma = t / 1000,
x = (1 - sigma) * clean + sigma * noise, velocity = noise - clean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.flow_matching import TIMESTEPS
from runtime.models.dit.audio_adapter import (
    AudioAdapter,
    AudioProjection,
    FrameMaps,
    adapter_keys_values,
    group_frames,
)
from runtime.models.dit.blocks import DoubleBlock, SingleBlock, attention_mask
from runtime.models.dit.conditioning import (
    Conditioning,
    StepInputs,
    WindowInputs,
    check_conditioning,
    still_latents,
)
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.emotion_adapter import EmotionAdapter
from runtime.models.dit.image_injection import VideoReferenceEmbed
from runtime.models.dit.initialization import initialize
from runtime.models.dit.layers import (
    FinalLayer,
    NumberEmbedder,
    PatchEmbed,
    PooledTextEmbedder,
    Stack,
    patchify,
    unpatchify,
)
from runtime.models.dit.rope import rotations
from runtime.models.dit.text_refiner import TextRefiner

SMALLEST_SIGMA = 1e-3  # smallest divisor when a residual prediction becomes a velocity


class DiT(nn.Module):
    """Denoises a window of latents of talking people. Holds weights only."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        size, patch = config.hidden_size, config.patch_size
        embed = VideoReferenceEmbed if config.injection == "channel" else PatchEmbed
        self.img_in = embed(config.in_channels, size, patch)
        if config.injection != "token":
            self.ref_in = PatchEmbed(config.in_channels, size, patch)
        if config.injection == "add":
            self.before_proj = nn.Linear(size, size)
        self.txt_in = TextRefiner(config)
        self.time_in = NumberEmbedder(size)
        self.vector_in = PooledTextEmbedder(config.pooled_text_dim, size)
        self.motion_exp = NumberEmbedder(size // 4)
        self.motion_pose = NumberEmbedder(size // 4)
        self.fps_proj = NumberEmbedder(size)
        self.double_blocks = Stack([DoubleBlock(config) for _ in range(config.double_blocks)])
        self.single_blocks = Stack([SingleBlock(config) for _ in range(config.single_blocks)])
        self.final_layer = FinalLayer(size, config.patch_values)
        self.audio_proj = AudioProjection(config)
        self.audio_adapter_blocks = Stack([AudioAdapter(config) for _ in range(config.adapters)])
        if config.frame_maps:
            self.audio_frames = FrameMaps(size, size, config.audio_tokens)
        if config.motion_cues:
            self.cue_frames = FrameMaps(config.motion_cues, size, 1)
        if config.emotion:
            self.emotion_in = PatchEmbed(config.in_channels, size, patch)
            self.emotion_blocks = Stack([EmotionAdapter(config) for _ in range(config.adapters)])
        initialize(self)

    def forward(
        self, x: Tensor, t: Tensor, cond: Conditioning, tokens: Tensor | None = None
    ) -> Tensor:
        """Velocity (B, C, T, H, W) of noisy latents x (B, C, T, H, W) at t (B,), 0 .. 1000.

        With `tokens`, indices (n,) into the h * w grid, the window has only these tokens in every
        latent frame and in the reference. The velocity is then in patches (B, T, n, C * patch), as
        those of `patchify`.
        """
        prediction, still = self._predict(x, t, cond, tokens)
        if self.config.prediction == "velocity":
            return prediction
        noisy = self._at_tokens(x, tokens)
        sigma = self._sigma(t, noisy).clamp(min=SMALLEST_SIGMA)
        return (noisy - self._at_tokens(still, tokens) - prediction) / sigma

    def predict_clean(
        self, x: Tensor, t: Tensor, cond: Conditioning, tokens: Tensor | None = None
    ) -> Tensor:
        """The predicted clean latents; shapes as in `forward`."""
        prediction, still = self._predict(x, t, cond, tokens)
        if self.config.prediction == "residual":
            return self._at_tokens(still, tokens) + prediction
        noisy = self._at_tokens(x, tokens)
        return noisy - self._sigma(t, noisy) * prediction

    def _predict(
        self, x: Tensor, t: Tensor, cond: Conditioning, tokens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The model's own output, and the still latents of the window."""
        window = self.prepare_window(cond, x.shape[2], tokens)
        return self.denoise(x, self.prepare_step(t, cond), window), window.still

    def _at_tokens(self, latents: Tensor, tokens: Tensor | None) -> Tensor:
        return latents if tokens is None else patchify(latents, self.config.patch_size, tokens)

    @staticmethod
    def _sigma(t: Tensor, like: Tensor) -> Tensor:
        return (t.float() / TIMESTEPS).view(-1, *[1] * (like.dim() - 1))

    def vector(self, t: Tensor, cond: Conditioning) -> Tensor:
        """The modulation vector (B, D): time, motion, fps and pooled text."""
        vec: Tensor = (
            self.time_in(t)
            + self.motion_exp(cond.motion_exp.flatten()).unflatten(0, (-1, 4)).flatten(1)
            + self.motion_pose(cond.motion_pose.flatten()).unflatten(0, (-1, 4)).flatten(1)
            + self.fps_proj(cond.fps)
            + self.vector_in(cond.pooled_text)
        )
        return vec

    def prepare_step(self, t: Tensor, cond: Conditioning) -> StepInputs:
        """Text tokens and modulations of timestep t (B,); audio and reference are not read."""
        text_mask = None if cond.text_mask is None else cond.text_mask.bool()
        if text_mask is not None and bool(text_mask.all()):
            text_mask = None
        vec = self.vector(t, cond)
        activated = F.silu(vec)
        return StepInputs(
            text=self.txt_in(cond.text_states, t, text_mask),
            text_mask=text_mask,
            double=tuple((b.img_mod(activated), b.txt_mod(activated)) for b in self.double_blocks),
            single=tuple(block.modulation(activated) for block in self.single_blocks),
            final=self.final_layer.adaLN_modulation(vec),
        )

    def prepare_window(
        self, cond: Conditioning, latent_frames: int, tokens: Tensor | None = None
    ) -> WindowInputs:
        """Reference, positions, masks and the keys of audio and emotion; t is not read."""
        check_conditioning(cond, self.config, latent_frames)
        patch = self.config.patch_size
        grid = patchify(cond.ref_latents, patch)
        reference = grid if tokens is None else grid[:, :, tokens]
        rotation = rotations(cond.freqs_cos, cond.freqs_sin)[:, None, None]
        masks = self._face_masks(cond.face_masks, latent_frames, tokens)
        emotion, emotion_masks = self._emotion(cond, rotation, masks)
        reference_tokens, injected = self._reference(reference)
        return WindowInputs(
            reference=reference_tokens,
            injected=injected,
            rotation=self._rotation_at(rotation, latent_frames + 1, tokens),
            masks=masks,
            audio=self.audio_keys_values(cond, latent_frames),
            emotion=emotion,
            emotion_masks=emotion_masks,
            tokens=tokens,
            still=still_latents(cond),
        )

    def audio_keys_values(self, cond: Conditioning, latent_frames: int) -> tuple[Tensor, ...]:
        """Each adapter's keys and values of the audio: all that changes with every window."""
        return adapter_keys_values(self.audio_adapter_blocks, self.embed_audio(cond, latent_frames))

    def embed_audio(self, cond: Conditioning, latent_frames: int) -> Tensor:
        """Audio tokens, then motion cue tokens, of each latent frame: (B, T, S, keys, D)."""
        tokens = group_frames(self.audio_proj(cond.audio), latent_frames)
        if self.config.frame_maps:
            tokens = self.audio_frames(tokens)
        if cond.cues is None:
            return tokens
        cues = group_frames(cond.cues.unsqueeze(3), latent_frames)
        return torch.cat((tokens, self.cue_frames(cues)), dim=3)

    def _reference(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The reference's tokens (B, n, D), and its addition (B, T * n, D) to the video's tokens.

        From patches (B, T, n, C * patch), see `image_injection`. With "token" the addition is zero.
        """
        if self.config.injection == "add":
            return self.img_in(patches[:, :1]), self.before_proj(self.ref_in(patches))
        if isinstance(self.img_in, VideoReferenceEmbed):
            return self.ref_in(patches[:, :1]), self.img_in.reference_part(patches)
        reference: Tensor = self.img_in(patches[:, :1])
        batch, frames, tokens = patches.shape[:3]
        return reference, reference.new_zeros(batch, frames * tokens, reference.shape[2])

    @staticmethod
    def _rotation_at(rotation: Tensor, frames: int, tokens: Tensor | None) -> Tensor:
        if tokens is None:
            return rotation
        return torch.unflatten(rotation, 0, (frames, -1))[:, tokens].flatten(0, 1)

    def _face_masks(self, masks: Tensor, latent_frames: int, tokens: Tensor | None) -> Tensor:
        """(B, S, 1 or T, H, W) to (B, T, n, S, 1), the mask at each token's upper left latent."""
        _, ph, pw = self.config.patch_size
        grid = masks[..., ::ph, ::pw].flatten(3)
        if tokens is not None:
            grid = grid[..., tokens]
        grid = grid.expand(-1, -1, latent_frames, -1)
        return grid.permute(0, 2, 3, 1).unsqueeze(-1)

    def _emotion(
        self, cond: Conditioning, rotation: Tensor, masks: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Each adapter's keys of the emotion references, and the masks times the strengths."""
        if cond.emotion_latents is None:
            return (), None
        batch, speakers = cond.emotion_latents.shape[:2]
        references = cond.emotion_latents.flatten(0, 1).unsqueeze(2)
        patches = patchify(references, self.config.patch_size)
        tokens = self.emotion_in(patches).unflatten(0, (batch, speakers))
        at_reference = rotation[: tokens.shape[2]]
        if cond.emotion_scale is not None:
            masks = masks * cond.emotion_scale[:, None, None, :, None]
        keys = tuple(block.keys_values(tokens, at_reference) for block in self.emotion_blocks)
        return keys, masks.flatten(1, 2).unsqueeze(1)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """The model's own output, velocity or residual; shapes as in `forward`.

        With `window.newest` it is of these last latent frames only.
        """
        hidden = self.hidden_before_last(x, step, window)
        return self.finish(hidden, x, step, window)

    def hidden_before_last(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """All tokens before the last single block, (B, n + T * n + L, D): the step cache.

        A cached step passes stored tokens to `finish`, with its own x and `step`.
        """
        video = self.img_in(patchify(x, self.config.patch_size, window.tokens)) + window.injected
        img, txt = torch.cat((window.reference, video), dim=1), step.text
        mask = attention_mask(step.text_mask, img.shape[1])
        for index, (block, modulation) in enumerate(
            zip(self.double_blocks, step.double, strict=True)
        ):
            img, txt = block(img, txt, modulation, window.rotation, mask)
            if index % 2 == 1:
                img = self.apply_adapters(img, index // 2, window)
        hidden = torch.cat((img, txt), dim=1)
        for single, single_modulation in zip(self.single_blocks[:-1], step.single, strict=False):
            hidden = single(hidden, single_modulation, window.rotation, mask)
        return hidden

    def apply_adapters(self, img: Tensor, index: int, window: WindowInputs) -> Tensor:
        """Image tokens after adapter `index` has added audio and emotion to those of the video."""
        reference, video = torch.tensor_split(img, [window.masks.shape[2]], dim=1)
        return torch.cat((reference, video + self.adapter_output(video, index, window)), dim=1)

    def adapter_output(self, video: Tensor, index: int, window: WindowInputs) -> Tensor:
        """Audio and emotion that adapter `index` adds to the video tokens (B, T * n, D)."""
        audio: Tensor = self.audio_adapter_blocks[index](video, window.audio[index], window.masks)
        if window.emotion_masks is None:
            return audio
        emotion: Tensor = self.emotion_blocks[index](
            video,
            window.emotion[index],
            window.emotion_masks,
            window.rotation[window.masks.shape[2] :],
        )
        return audio + emotion

    def finish(self, hidden: Tensor, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """The last single block and the final layer."""
        last = window.reference.shape[1] + window.injected.shape[1]
        frames = x.shape[2] if window.newest is None else window.newest
        first = last - frames * window.masks.shape[2]
        mask = attention_mask(step.text_mask, last)
        hidden = self.single_blocks[-1](hidden, step.single[-1], window.rotation, mask)
        patches = self.final_layer(hidden[:, first:last], step.final)
        patches = torch.unflatten(patches, 1, (frames, -1))
        if window.tokens is not None:
            return patches
        return unpatchify(patches, self.config.patch_size, x.shape[3] // self.config.patch_size[1])
