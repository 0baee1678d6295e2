"""The model's own modules as engines: eager, recorded as a CUDA graph, fused, or compiled.

A model whose weights are narrower than float32 computes in their type throughout: what goes in is
rounded to it, as it is for an exported engine of that precision. FP8 weights are multiplied in FP8
(fp8_linear.py) between bfloat16 numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from runtime.engine.cpu.decoder import FusedDecoder
from runtime.engine.cpu.denoiser import FusedDenoiser
from runtime.engine.gpu.cuda_graph import GraphedDecoder, GraphedDenoiser, tensors_in, with_tensors
from runtime.engine.kinds import LARGE
from runtime.errors import Unsupported
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.models.dit.conditioning import StepInputs, WindowInputs, real_rotation
from runtime.models.dit.dit import DiT
from runtime.models.fp8.storage import Fp8Linear
from runtime.stream.engines import Decoder, Denoiser, Engines
from runtime.stream.model import StreamModel

PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def eager(model: StreamModel) -> Engines:
    """The modules as they are."""
    return _engines(model, model.dit)


def default_engines(model: StreamModel) -> Engines:
    """On a CPU in float32 the fused denoiser and decoder, elsewhere `eager`."""
    if model.device.type != "cpu" or precision_of(model.dit) != "fp32":
        return eager(model)
    return replace(eager(model), denoiser=FusedDenoiser(model.dit), decoder=cpu_decoder(model))


def cpu_decoder(model: StreamModel) -> Decoder:
    """The fused decoder; of a model on a GPU or with another autoencoder, its own."""
    autoencoder = model.autoencoder
    if isinstance(autoencoder, Autoencoder) and model.device.type == "cpu":
        return FusedDecoder(autoencoder)
    return autoencoder


def graphed(model: StreamModel) -> Engines:
    """The same kernels, recorded as CUDA graphs: fixed addresses, one launch a call.

    A recording is of one shape, so streams of other shapes need engines of their own.
    Unsupported where the model is not on a GPU.
    """
    _check_gpu(model, "torch-graphed", "records CUDA graphs")
    return _recorded(eager(model))


def fused(model: StreamModel, attends_in_fp8: bool = False) -> Engines:
    """The denoiser with three kernels in place of all between its products; recorded as `graphed`.

    Unsupported where the model is not on a GPU, or Triton is missing.
    """
    _check_gpu(model, "torch-fused", "runs kernels in Triton")
    try:
        from runtime.engine.gpu.denoiser import FusedGpuDenoiser
    except ImportError as error:
        raise Unsupported(
            f"torch-fused needs Triton, which comes with torch for CUDA on Linux: {error}. "
            "Install such a torch, or use --engine torch-compiled.",
            param="engine",
        ) from error
    return _recorded(_engines(model, FusedGpuDenoiser(model.dit, attends_in_fp8)))


def _check_gpu(model: StreamModel, engine: str, what: str) -> None:
    if model.device.type != "cuda":
        raise Unsupported(
            f"{engine} {what} and needs an NVIDIA GPU; the model is on {model.device}. "
            "Use --engine torch, or --device cuda where a GPU is.",
            param="engine",
        )


def _recorded(engines: Engines) -> Engines:
    denoiser, decoder = GraphedDenoiser(engines.denoiser), GraphedDecoder(engines.decoder)
    return replace(engines, denoiser=denoiser, decoder=decoder)


def compiled(model: StreamModel) -> Engines:
    """The denoiser compiled at its first call for that call's shapes; takes about a minute.

    A large model is compiled by its two kinds of block, a small one whole. On a GPU CUDA graphs
    run what was compiled, as in `graphed`.
    """
    large = model.dit.config.hidden_size >= LARGE
    inner = CompiledBlocks(model.dit) if large else CompiledDenoiser(model.dit)
    engines = _engines(model, inner)
    return _recorded(engines) if model.device.type == "cuda" else engines


def through_tensorrt(model: StreamModel) -> Engines:
    """The denoiser built by torch-tensorrt at its first call; see torch_tensorrt_engine.py."""
    from runtime.engine.trt.torch_tensorrt import TorchTensorRTDenoiser

    by_block = model.dit.config.hidden_size >= LARGE
    return _engines(model, TorchTensorRTDenoiser(model.dit, by_block))


def precision_of(dit: DiT) -> str:
    """What a loaded model computes in: a name of `PRECISIONS`."""
    if any(isinstance(module, Fp8Linear) for module in dit.modules()):
        return "fp8"
    return PRECISION_NAMES[dit.img_in.proj.weight.dtype]


def _engines(model: StreamModel, denoiser: Denoiser) -> Engines:
    dtype = model.dit.img_in.proj.weight.dtype
    if dtype != torch.float32:
        denoiser = NarrowDenoiser(denoiser, dtype)
    return Engines(denoiser, model.autoencoder, model.audio_encoder)


class NarrowDenoiser:
    """A denoiser in 16-bit numbers for a stream that keeps its latents in float32.

    Rotations stay as they are: they are applied in float32.
    """

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype) -> None:
        self._denoiser = denoiser
        self._dtype = dtype

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        given: Any = (x, step, window)
        rounded = (self._rounded(tensor) for tensor in tensors_in(given))
        latents, told, seen = with_tensors(given, rounded)
        seen = replace(seen, rotation=window.rotation)
        return self._denoiser.denoise(latents, told, seen).to(x.dtype)

    def _rounded(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


class CompiledDenoiser:
    """`DiT.denoise` through torch.compile, with rotations in real numbers, which it can fuse."""

    def __init__(self, dit: DiT, backend: str = "inductor") -> None:
        self._denoise = torch.compile(dit.denoise, fullgraph=True, dynamic=False, backend=backend)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        out: Tensor = self._denoise(x, step, real_rotation(window))
        return out


class CompiledBlocks:
    """`DiT.denoise` with its blocks compiled in place, each kind once, however many there are.

    Norms, modulation and rotations then are fused with what stands around them.
    """

    def __init__(self, dit: DiT, backend: str = "inductor") -> None:
        self._dit = dit
        for block in (*dit.double_blocks, *dit.single_blocks):
            block.compile(fullgraph=True, dynamic=False, backend=backend)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        return self._dit.denoise(x, step, real_rotation(window))
