"""torch-tensorrt: torch exports the model's modules and TensorRT builds them, in this process.

This is a second route to TensorRT beside `avatar export`. It writes no files: every process builds
anew, at its first call. Networks are strongly typed. A module that TensorRT cannot run as a whole
is an error; no part of it falls back to torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from runtime.engine.gpu.cuda_graph import tensors_in, with_tensors
from runtime.errors import EngineError, Unsupported
from runtime.models.dit.conditioning import StepInputs, WindowInputs, real_rotation
from runtime.models.dit.dit import DiT

SETTINGS = {
    "require_full_compilation": True,  # otherwise unknown operators run in torch, silently
    "min_block_size": 1,
    "disable_tf32": True,  # float32 products are exact float32
}

Build = Callable[[ExportedProgram, list[Tensor]], Callable[..., Any]]


class TorchTensorRTDenoiser:
    """The denoiser as one engine or, with `by_block`, with one engine for each of its blocks.

    With `by_block` the DiT is changed in place: its blocks run their engines from then on. Raises
    Unsupported if torch-tensorrt or a GPU is missing.
    """

    def __init__(self, dit: DiT, by_block: bool, build: Build | None = None) -> None:
        build = build or library_build(next(dit.parameters()).device)
        self._denoise: Callable[..., Any] = dit.denoise
        if by_block:
            for block in (*dit.double_blocks, *dit.single_blocks):
                block.forward = BuiltAtFirstCall(block, block.forward, build)
        else:
            self._denoise = BuiltAtFirstCall(dit, dit.denoise, build)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        out: Tensor = self._denoise(x, step, real_rotation(window))
        return out


class BuiltAtFirstCall:
    """A method of a module, built for the shapes of its first call; EngineError for others."""

    def __init__(self, module: nn.Module, method: Callable[..., Any], build: Build) -> None:
        self._module, self._method, self._build = module, method, build
        self._built: Callable[..., Any] | None = None
        self._shapes: list[torch.Size] = []

    def __call__(self, *arguments: Any) -> Any:
        tensors = list(tensors_in(arguments))
        shapes = [tensor.shape for tensor in tensors]
        if self._built is None:
            program = export_call(self._module, self._method, arguments)
            self._built, self._shapes = self._build(program, tensors), shapes
        if shapes != self._shapes:
            raise EngineError(
                "This engine was built for other shapes of window. Open one engine for each preset "
                "and number of speakers."
            )
        out = self._built(*tensors)
        return tuple(out) if isinstance(out, list) else out


class _FlatCall(nn.Module):
    """A call of a method with its tensors as separate arguments, as `torch.export` requires."""

    def __init__(self, module: nn.Module, method: Callable[..., Any], like: Any) -> None:
        super().__init__()
        self.module = module
        self._method, self._like = method, like

    def forward(self, *tensors: Tensor) -> Any:
        return self._method(*with_tensors(self._like, iter(tensors)))


def export_call(
    module: nn.Module, method: Callable[..., Any], arguments: tuple[Any, ...]
) -> ExportedProgram:
    """The call as a program of its tensors in the order of `tensors_in`, for these shapes only."""
    with torch.inference_mode(False), torch.no_grad():  # the mode of the caller must not be traced
        tensors = tuple(tensor.clone() for tensor in tensors_in(arguments))
        return torch.export.export(_FlatCall(module, method, arguments).eval(), tensors)


def library_build(device: torch.device) -> Build:
    """A function that builds a program for this GPU with torch-tensorrt."""
    library = torch_tensorrt()
    if device.type != "cuda":
        raise Unsupported(
            f"torch-tensorrt builds engines for the model's GPU, but the model is on {device}. Use "
            "--device cuda on a machine with a GPU, or --engine torch.",
            param="engine",
        )

    def build(program: ExportedProgram, tensors: list[Tensor]) -> Callable[..., Any]:
        try:
            built: Callable[..., Any] = library.dynamo.compile(
                program, arg_inputs=tensors, device=device, **SETTINGS
            )
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"torch-tensorrt {library.__version__} cannot build all of this model: {error}. "
                "Use `avatar export tensorrt` and --engine tensorrt, or --engine torch-compiled."
            ) from error
        return built

    return build


def torch_tensorrt() -> ModuleType:
    """Import the library; Unsupported if that fails."""
    try:
        return importlib.import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:  # the import loads CUDA's libraries
        raise Unsupported(
            f"torch-tensorrt cannot be imported ({error}). Install it on a machine with an NVIDIA "
            "GPU, pip install 'avatar-server[gpu]', or choose another engine.",
            param="engine",
        ) from error
