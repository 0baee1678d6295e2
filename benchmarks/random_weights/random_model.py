"""A transformer of any size with random weights, and random inputs in a stream's shapes.

Speed does not depend on the numbers. Weights are drawn on their device and in their final type, so
that 13 B parameters never exist twice. Modulations are inputs in a stream (computed once per
session), so their weights, 3.4 B of the 13 B, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from runtime.engine.kinds import weight_precision
from runtime.models.dit.conditioning import Conditioning, StepInputs, WindowInputs
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import Modulation
from runtime.models.dit.rope import rope_freqs
from runtime.models.fp8.linear import use_scaled_products
from runtime.models.fp8.storage import FP8, FP8_MAX, use_fp8
from runtime.timing import VIDEO_FPS

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp8": torch.bfloat16,
    "fp8-attention": torch.bfloat16,
}
"""The type of all tensors but FP8 weights."""

FP8_SPREAD = 64.0  # standard deviation of random FP8 weights, which reach to 448


@dataclass(frozen=True, slots=True)
class WindowSize:
    """The size of a denoiser's window: latent frames, rows, columns, text tokens, speakers."""

    latent_frames: int
    rows: int
    columns: int
    text_tokens: int = 640  # 576 of the picture and 64 of a prompt; the release pads to 831
    speakers: int = 1

    def tokens(self, config: DiTConfig) -> int:
        """All tokens of a call, reference and text included."""
        _, ph, pw = config.patch_size
        grid = (self.rows // ph) * (self.columns // pw)
        return (self.latent_frames + 1) * grid + self.text_tokens


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of `DiT.denoise`."""

    x: Tensor
    step: StepInputs
    window: WindowInputs


def random_dit(config: DiTConfig, device: torch.device, precision: str) -> DiT:
    """A transformer on a device without modulation weights; FP8 if `precision` says so."""
    with torch.device("meta"):
        dit = DiT(config)
        if weight_precision(precision) == "fp8":
            use_fp8(dit)
    without_modulations(dit)
    randomize(dit, device, DTYPES[precision])
    if weight_precision(precision) == "fp8":
        use_scaled_products(dit)
    return dit


def without_modulations(dit: DiT) -> None:
    """Removes the modulations' weights: a stream passes their outputs."""
    for name, module in list(dit.named_modules()):
        if isinstance(module, Modulation):
            dit.set_submodule(name, nn.Identity())


def randomize(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Draws every parameter and buffer on the device: weights of variance 1 / fan-in."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            fan_in = parameter.shape[1:].numel() if parameter.dim() > 1 else parameter.numel()
            if parameter.dtype == FP8:
                drawn = torch.randn(parameter.shape, device=device, dtype=dtype) * FP8_SPREAD
                drawn = drawn.clamp(-FP8_MAX, FP8_MAX).to(FP8)
            else:
                drawn = torch.randn(parameter.shape, device=device, dtype=dtype) * fan_in**-0.5
            setattr(module, name, nn.Parameter(drawn, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            width = module.get_parameter("weight").shape[1]  # of an FP8 linear: its scale
            drawn = torch.full_like(buffer, width**-0.5 / FP8_SPREAD, device=device)
            module.register_buffer(name, drawn)


@torch.inference_mode()
def random_call(dit: DiT, size: WindowSize, device: torch.device, precision: str) -> Call:
    """Random arguments of `dit.denoise`, rotations as real pairs."""
    config, dtype = dit.config, DTYPES[precision]

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    window = dit.prepare_window(_conditions(config, size, device, dtype), size.latent_frames)
    width = config.hidden_size
    step = StepInputs(
        text=noise(1, size.text_tokens, width),
        text_mask=None,
        double=tuple(
            (noise(1, 6 * width), noise(1, 6 * width)) for _ in range(config.double_blocks)
        ),
        single=tuple(noise(1, 3 * width) for _ in range(config.single_blocks)),
        final=noise(1, 2 * width),
    )
    x = noise(1, config.in_channels, size.latent_frames, size.rows, size.columns)
    return Call(x, step, replace(window, rotation=torch.view_as_real(window.rotation)))


def _conditions(
    config: DiTConfig, size: WindowSize, device: torch.device, dtype: torch.dtype
) -> Conditioning:
    speakers, frames = size.speakers, config.audio_frame_count(size.latent_frames)
    picture = (config.in_channels, size.rows, size.columns)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    grid = (size.rows // config.patch_size[1], size.columns // config.patch_size[2])
    cos, sin = rope_freqs(size.latent_frames, *grid, config.rope_dims, config.rope_theta)
    sound = (config.audio_steps, config.audio_layers, config.audio_dim)
    return Conditioning(
        text_states=noise(1, size.text_tokens, config.text_dim),
        text_mask=None,
        pooled_text=noise(1, config.pooled_text_dim),
        ref_latents=noise(1, picture[0], 1, *picture[1:]).expand(
            -1, -1, size.latent_frames, -1, -1
        ),
        audio=noise(1, speakers, frames, *sound),
        face_masks=noise(1, speakers, 1, *picture[1:]).sigmoid() / speakers,
        motion_exp=noise(1, 4),
        motion_pose=noise(1, 4),
        fps=torch.full((1,), float(VIDEO_FPS), device=device),
        freqs_cos=cos.to(device),
        freqs_sin=sin.to(device),
        cues=noise(1, speakers, frames, config.motion_cues) if config.motion_cues else None,
        emotion_latents=noise(1, speakers, *picture) if config.emotion else None,
    )


def denoise_flops(config: DiTConfig, size: WindowSize) -> int:
    """Floating-point operations of the matrix products and attention of one `denoise`.

    torch counts them on the meta device; a multiply-add is two.
    """
    meta = torch.device("meta")
    with meta:
        dit = DiT(config)
    call = random_call(dit, size, meta, "fp32")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        dit.denoise(call.x, call.step, call.window)
    return int(counter.get_total_flops())
