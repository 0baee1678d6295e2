"""Engines in torch: eager, optimised for a CPU, captured as CUDA graphs, fused, or compiled.

A model whose weights are narrower than float32 computes in their type throughout: its inputs are
rounded to that type, as for an exported engine of the same precision. FP8 weights are multiplied
in FP8 (models/fp8/linear.py); everything between the products is bfloat16.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from runtime.engine.cpu.decoder import CpuDecoder
from runtime.engine.cpu.denoiser import CpuDenoiser
from runtime.engine.gpu.cuda_graph import GraphedDecoder, GraphedDenoiser, tensors_in, with_tensors
from runtime.engine.kinds import LARGE, Precision
from runtime.errors import Unsupported
from runtime.models.autoencoder.autoencoder import Autoencoder
from runtime.models.dit.conditioning import StepInputs, WindowInputs, real_rotation
from runtime.models.dit.dit import DiT
from runtime.models.fp8.storage import Fp8Linear
from runtime.stream.engines import Decoder, Denoiser, Engines
from runtime.stream.model import StreamModel

WEIGHT_PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def eager(model: StreamModel) -> Engines:
    """The model's modules themselves."""
    return _engines(model, model.dit)


def default_engines(model: StreamModel) -> Engines:
    """On a CPU in float32 `CpuDenoiser` and `CpuDecoder`, otherwise `eager`."""
    if model.device.type != "cpu" or precision_of(model.dit) != "fp32":
        return eager(model)
    return replace(eager(model), denoiser=CpuDenoiser(model.dit), decoder=cpu_decoder(model))


def cpu_decoder(model: StreamModel) -> Decoder:
    """`CpuDecoder`, or the model's own decoder on a GPU or with another autoencoder."""
    autoencoder = model.autoencoder
    if isinstance(autoencoder, Autoencoder) and model.device.type == "cpu":
        return CpuDecoder(autoencoder)
    return autoencoder


def graphed(model: StreamModel) -> Engines:
    """As `eager`, captured as CUDA graphs: fixed addresses, one launch a call.

    A graph has one shape, so streams of other shapes need engines of their own.
    Raises Unsupported if the model is not on a GPU.
    """
    _check_gpu(model, "torch-graphed", "captures CUDA graphs")
    return _captured(eager(model))


def fused(model: StreamModel, attends_in_fp8: bool = False) -> Engines:
    """The denoiser with three Triton kernels between its products, captured as in `graphed`.

    Raises Unsupported if the model is not on a GPU or Triton is missing.
    """
    _check_gpu(model, "torch-fused", "runs Triton kernels")
    try:
        from runtime.engine.gpu.denoiser import TritonDenoiser
    except ImportError as error:
        raise Unsupported(
            f"torch-fused needs Triton, which comes with torch for CUDA on Linux: {error}. "
            "Install such a torch, or use --engine torch-compiled.",
            param="engine",
        ) from error
    return _captured(_engines(model, TritonDenoiser(model.dit, attends_in_fp8)))


def _check_gpu(model: StreamModel, engine: str, work: str) -> None:
    if model.device.type != "cuda":
        raise Unsupported(
            f"{engine} {work} and needs an NVIDIA GPU; the model is on {model.device}. "
            "Use --engine torch, or --device cuda on a machine with a GPU.",
            param="engine",
        )


def _captured(engines: Engines) -> Engines:
    denoiser, decoder = GraphedDenoiser(engines.denoiser), GraphedDecoder(engines.decoder)
    return replace(engines, denoiser=denoiser, decoder=decoder)


def compiled(model: StreamModel) -> Engines:
    """The denoiser through torch.compile, at its first call and for that call's shapes.

    Compiling takes about a minute. A large model is compiled by its two kinds of block, a small one
    whole. On a GPU the compiled code is captured as in `graphed`.
    """
    large = model.dit.config.hidden_size >= LARGE
    inner = CompiledBlocks(model.dit) if large else CompiledDenoiser(model.dit)
    engines = _engines(model, inner)
    return _captured(engines) if model.device.type == "cuda" else engines


def through_tensorrt(model: StreamModel) -> Engines:
    """The denoiser built by torch-tensorrt at its first call; see trt/torch_tensorrt.py."""
    from runtime.engine.trt.torch_tensorrt import TorchTensorRTDenoiser

    by_block = model.dit.config.hidden_size >= LARGE
    return _engines(model, TorchTensorRTDenoiser(model.dit, by_block))


def precision_of(dit: DiT) -> Precision:
    """The precision in which a model was loaded."""
    if any(isinstance(module, Fp8Linear) for module in dit.modules()):
        return "fp8"
    return WEIGHT_PRECISIONS[dit.img_in.proj.weight.dtype]


def _engines(model: StreamModel, denoiser: Denoiser) -> Engines:
    dtype = model.dit.img_in.proj.weight.dtype
    if dtype != torch.float32:
        denoiser = NarrowDenoiser(denoiser, dtype)
    return Engines(denoiser, model.autoencoder, model.audio_encoder)


class NarrowDenoiser:
    """Rounds a denoiser's inputs to `dtype` and its output back to that of the latents.

    Rotations are not rounded: they are applied in float32.
    """

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype) -> None:
        self._denoiser = denoiser
        self._dtype = dtype

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        inputs: Any = (x, step, window)
        rounded = (self._rounded(tensor) for tensor in tensors_in(inputs))
        latents, narrow_step, narrow_window = with_tensors(inputs, rounded)
        narrow_window = replace(narrow_window, rotation=window.rotation)
        return self._denoiser.denoise(latents, narrow_step, narrow_window).to(x.dtype)

    def _rounded(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


class CompiledDenoiser:
    """`DiT.denoise` through torch.compile; rotations are real pairs, which a compiler can fuse."""

    def __init__(self, dit: DiT, backend: str = "inductor") -> None:
        self._denoise = torch.compile(dit.denoise, fullgraph=True, dynamic=False, backend=backend)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        out: Tensor = self._denoise(x, step, real_rotation(window))
        return out


class CompiledBlocks:
    """`DiT.denoise` with its blocks compiled in place: one compilation for each kind of block.

    The compiler fuses norms, modulation and rotations with the operations around them.
    """

    def __init__(self, dit: DiT, backend: str = "inductor") -> None:
        self._dit = dit
        for block in (*dit.double_blocks, *dit.single_blocks):
            block.compile(fullgraph=True, dynamic=False, backend=backend)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        return self._dit.denoise(x, step, real_rotation(window))
