"""The memory plan of the released model: what is on the GPU at each stage, and the peak to expect.

A clip has three stages: text and picture are encoded (one encoder at a time, unloaded after use),
the transformer samples, the autoencoder decodes. The transformer is bf16 or FP8. It stays on the
GPU or, with low memory, in host memory, from which blocks are copied in turn. Activations are
traced with the sampler's own code (`memory_trace.py`) and two blocks of each kind: four of each
take 0.02 % more at full size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from runtime.errors import BadInput
from runtime.hunyuan.layout import FORMS, Form
from runtime.hunyuan.offline.schedule import WINDOW, ReleasePlan
from runtime.hunyuan.report.memory_trace import traced_memory
from runtime.hunyuan.vae.checkpoint import VaeConfig
from runtime.hunyuan.vae.layers import build_layers
from runtime.hunyuan.weights.loading import empty_dit
from runtime.models.dit.conditioning import Conditioning
from runtime.models.dit.config import RELEASED, DiTConfig
from runtime.models.fp8.storage import FP8, use_fp8
from runtime.timing import FRAMES_PER_LATENT
from runtime.weights.offload import turns_of

LATENT_PX = 8  # pixels along each side of a latent
GIB = 2**30
TEXT_TOKENS = 831  # at most; the text refiner always has that many rows
SIDE_MULTIPLE = 16  # px; a token covers two latents along each side
LLAVA_PARAMETERS = 8_355_000_000  # Llama 3 8B, CLIP ViT-L/14 at 336 px, projector; in float16
CUDA_BYTES = 800 * 2**20  # assumed: context, cuBLAS and cuDNN workspaces
TURNS_AT_ONCE = 2  # slots of `LayerOffload`
TILES_KEPT = 4  # tiles in time at full picture size: cut, joined, blended, and the one before

RELEASED_VAE = VaeConfig(
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
    latent_channels=16,
    norm_num_groups=32,
    sample_size=256,
    scaling_factor=0.476986,
    sample_tsize=64,
    mid_block_causal_attn=True,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The clip to make: its size in pixels, and its length in frames of audio."""

    width: int = 704
    height: int = 768
    frames: int = 129

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if side <= 0 or side % SIDE_MULTIPLE:
                raise BadInput(
                    f"{name} is {side}. Use a positive multiple of {SIDE_MULTIPLE}.", param=name
                )
        if self.frames < 1:
            raise BadInput(f"frames is {self.frames}. Use 1 or more.", param="frames")

    @property
    def latent_sides(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height // LATENT_PX, self.width // LATENT_PX


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a clip: what is on the GPU and in host memory, and the GPU's peak."""

    name: str
    on_gpu: str
    on_host: str
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to run the transformer, and its stages."""

    form: Form
    low_memory: bool
    stages: tuple[Stage, ...]

    @property
    def peak_bytes(self) -> int:
        return max(stage.peak_bytes for stage in self.stages)

    @property
    def options(self) -> str:
        """The options of `avatar official` for this mode."""
        return f"--dtype {self.form}" + (" --low-memory" if self.low_memory else "")

    def summary(self) -> dict[str, Any]:
        """For JSON; peaks in bytes."""
        peaks = {stage.name: stage.peak_bytes for stage in self.stages}
        return {"options": self.options, "peak_bytes": self.peak_bytes, "stages": peaks}


def plan_memory(
    workload: Workload, config: DiTConfig = RELEASED, vae: VaeConfig = RELEASED_VAE
) -> list[Mode]:
    """All modes, in order of preference if they fit."""
    autoencoder = VaeMemory.of(vae, workload)
    weights = {form: DitMemory.of(config, form) for form in FORMS}
    modes = []
    for low_memory in (False, True):
        clip = ClipMemory.of(config, workload, low_memory=low_memory)
        modes += [
            Mode(form, low_memory, stages(weights[form], clip, autoencoder)) for form in FORMS
        ]
    return modes


def first_that_fits(modes: Iterable[Mode], gpu_bytes: int) -> Mode | None:
    """The preferred mode of those that fit in `gpu_bytes`; None if none fits."""
    return next((mode for mode in modes if mode.peak_bytes <= gpu_bytes), None)


def stages(dit: DitMemory, clip: ClipMemory, vae: VaeMemory) -> tuple[Stage, ...]:
    """The stages of a clip, in their order."""
    model, waiting = "transformer, autoencoder", "nothing"
    weights = CUDA_BYTES + vae.weights + dit.all
    halves, cache = "both guidance halves", clip.cache
    if clip.low_memory:
        model = "two blocks at a time, autoencoder"
        waiting = f"blocks {dit.moving / GIB:.1f} GiB, step cache {clip.cache / GIB:.1f} GiB"
        weights = CUDA_BYTES + vae.weights + dit.in_turns
        halves, cache = "one guidance half", 0
    sampling = weights + clip.activations + cache
    video = weights + cache + vae.decoding
    return (
        Stage("text", "LLaVA float16", "nothing", CUDA_BYTES + 2 * LLAVA_PARAMETERS),
        Stage("picture", "autoencoder", "nothing", CUDA_BYTES + vae.weights + vae.encoding),
        Stage("sampling", f"{model}, {halves}", waiting, sampling),
        Stage("video", f"{model}, a tile", waiting, video),
    )


@dataclass(frozen=True, slots=True)
class DitMemory:
    """Bytes of the transformer's weights."""

    all: int
    moving: int  # of the parts that are offloaded with low memory
    in_turns: int  # on the GPU with low memory: all others, and the parts at work

    @classmethod
    def of(cls, config: DiTConfig, form: Form) -> DitMemory:
        model = empty_dit(config, form)
        total = stored_bytes(model)
        parts = turns_of(model)
        moving = [stored_bytes(part) - inner_bytes(part, set(parts)) for part in parts]
        staying = total - sum(moving)
        return cls(total, sum(moving), staying + TURNS_AT_ONCE * max(moving))


def stored_bytes(module: nn.Module) -> int:
    """Bytes of the loaded weights: float8 as stored, scales in float32, all else in bfloat16."""
    parameters = sum(p.numel() * (1 if p.dtype == FP8 else 2) for p in module.parameters())
    return parameters + sum(buffer.nbytes for buffer in module.buffers())


def inner_bytes(part: nn.Module, parts: set[nn.Module]) -> int:
    """Bytes of the parts inside a part that are offloaded separately."""
    inner = (module for module in part.modules() if module is not part and module in parts)
    return sum(stored_bytes(module) for module in inner)


@dataclass(frozen=True, slots=True)
class ClipMemory:
    """Bytes that sampling a clip takes on the GPU beside the weights."""

    low_memory: bool
    activations: int  # of one call of the transformer, at their peak
    cache: int  # the step cache

    @classmethod
    def of(cls, config: DiTConfig, workload: Workload, *, low_memory: bool) -> ClipMemory:
        """With low memory the guidance branches run in turn and the cache is in host memory."""
        activations = denoising_bytes(config, workload, branches=1 if low_memory else 2)
        return cls(low_memory, activations, cache_bytes(config, workload))


def cache_bytes(config: DiTConfig, workload: Workload) -> int:
    """Bytes of the step cache of both guidance branches, in bfloat16."""
    plan, tokens = ReleasePlan.of_clip(workload.frames), frame_tokens(config, workload)
    rows = plan.length * tokens + len(plan.windows(0)) * (tokens + TEXT_TOKENS)
    return 2 * rows * config.hidden_size * 2


def frame_tokens(config: DiTConfig, workload: Workload) -> int:
    """The tokens of one latent frame."""
    rows, columns = workload.latent_sides
    return (rows // config.patch_size[1]) * (columns // config.patch_size[2])


def denoising_bytes(config: DiTConfig, workload: Workload, branches: int) -> int:
    """The peak of one call's activations and of the weight copies that FP8 linears make."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes seconds to import

    shallow = replace(config, double_blocks=2, single_blocks=2)
    model = empty_dit(shallow, "bf16").bfloat16()
    with torch.device("meta"):
        use_fp8(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        latents, conditions = inputs(shallow, workload, branches)
        weights = [*model.parameters(), *model.buffers()]
        with traced_memory(weights, autocast=True) as memory:
            model(latents, torch.empty(branches), conditions)
    return memory.peak_bytes


def inputs(config: DiTConfig, workload: Workload, branches: int) -> tuple[Tensor, Conditioning]:
    """Noisy latents and conditions of one window, without meaningful values."""
    rows, columns = workload.latent_sides
    tokens = (WINDOW + 1) * frame_tokens(config, workload)
    frames = FRAMES_PER_LATENT * (WINDOW - 1) + 1
    audio = (frames, config.audio_steps, config.audio_layers, config.audio_dim)
    latents = torch.empty(branches, config.in_channels, WINDOW, rows, columns, dtype=torch.bfloat16)
    motion = torch.ones(branches, 4, dtype=torch.int64)
    return latents, Conditioning(
        text_states=torch.empty(branches, TEXT_TOKENS, config.text_dim, dtype=torch.bfloat16),
        text_mask=None,
        pooled_text=torch.empty(branches, config.pooled_text_dim, dtype=torch.bfloat16),
        ref_latents=torch.empty_like(latents),
        audio=torch.empty(branches, 1, *audio, dtype=torch.bfloat16),
        face_masks=torch.empty(branches, 1, 1, rows, columns),
        motion_exp=motion,
        motion_pose=motion,
        fps=torch.empty(branches),
        freqs_cos=torch.empty(tokens, config.head_dim),
        freqs_sin=torch.empty(tokens, config.head_dim),
    )


@dataclass(frozen=True, slots=True)
class VaeMemory:
    """Bytes of the autoencoder: its weights in float16, and the peaks of encoding and decoding."""

    weights: int
    encoding: int
    decoding: int

    @classmethod
    def of(cls, config: VaeConfig, workload: Workload) -> VaeMemory:
        with torch.device("meta"):
            module = build_layers(config).half()
            height, width = (
                min(side, config.sample_size) for side in (workload.height, workload.width)
            )
            frames = config.sample_tsize + 1
            video = torch.empty(1, 3, frames, height, width, dtype=torch.float16)
            latents = torch.empty(
                1,
                config.latent_channels,
                config.sample_tsize // FRAMES_PER_LATENT + 1,
                height // LATENT_PX,
                width // LATENT_PX,
                dtype=torch.float16,
            )
        weights = list(module.parameters())
        with traced_memory(weights) as encoding:
            module.encode(video)
        with traced_memory(weights) as decoding:
            module.decode(latents)
        pictures = workload.width * workload.height * 3 * 2
        return cls(
            sum(weight.nbytes for weight in weights),
            encoding.peak_bytes + workload.frames * pictures,
            decoding.peak_bytes + TILES_KEPT * frames * pictures,
        )
