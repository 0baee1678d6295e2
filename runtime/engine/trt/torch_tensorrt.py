"""torch-tensorrt: torch exports the model's own modules, TensorRT builds them, in this process.

A second route to TensorRT beside `avatar export`: nothing lies in files, and every start of the
server builds again, at the first call of each shape. Networks are strongly typed, and a module that
TensorRT cannot run whole is an error: no part of it falls back to torch.
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
    "require_full_compilation": True,  # or an operator it does not know runs in torch, unsaid
    "min_block_size": 1,
    "disable_tf32": True,  # float32 means float32
}

Build = Callable[[ExportedProgram, list[Tensor]], Callable[..., Any]]


class TorchTensorRTDenoiser:
    """The denoiser as one engine or, `by_block`, with an engine for each of its blocks.

    By block the DiT is changed in place: its blocks run their engines from then on. Unsupported
    where torch-tensorrt or a GPU is missing.
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
    """A method of a module, built for the shapes of its first call; others are refused."""

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
                "This engine was built for other shapes of window. Open one for each preset and "
                "number of speakers."
            )
        out = self._built(*tensors)
        return tuple(out) if isinstance(out, list) else out


class _FlatCall(nn.Module):
    """A call of a method whose tensors come one by one, as `torch.export` wants them."""

    def __init__(self, module: nn.Module, method: Callable[..., Any], like: Any) -> None:
        super().__init__()
        self.module = module
        self._method, self._like = method, like

    def forward(self, *tensors: Tensor) -> Any:
        return self._method(*with_tensors(self._like, iter(tensors)))


def export_call(
    module: nn.Module, method: Callable[..., Any], arguments: tuple[Any, ...]
) -> ExportedProgram:
    """The call as a program of tensors in the order of `tensors_in`, for these shapes only."""
    with torch.inference_mode(False), torch.no_grad():  # a stream's own mode is not to be traced
        tensors = tuple(tensor.clone() for tensor in tensors_in(arguments))
        return torch.export.export(_FlatCall(module, method, arguments).eval(), tensors)


def library_build(device: torch.device) -> Build:
    """How torch-tensorrt builds a program for that GPU."""
    library = torch_tensorrt()
    if device.type != "cuda":
        raise Unsupported(
            f"torch-tensorrt builds engines for the GPU that the model is on; it is on {device}. "
            "Use --device cuda where a GPU is, or --engine torch.",
            param="engine",
        )

    def build(program: ExportedProgram, tensors: list[Tensor]) -> Callable[..., Any]:
        try:
            built: Callable[..., Any] = library.dynamo.compile(
                program, arg_inputs=tensors, device=device, **SETTINGS
            )
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"torch-tensorrt {library.__version__} cannot build this model whole: {error}. "
                "Use `avatar export tensorrt` and --engine tensorrt, or --engine torch-compiled."
            ) from error
        return built

    return build


def torch_tensorrt() -> ModuleType:
    """The library; Unsupported where it cannot be imported."""
    try:
        return importlib.import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:  # it loads CUDA's libraries
        raise Unsupported(
            f"torch-tensorrt cannot be imported ({error}). Install it where an NVIDIA GPU is, "
            "pip install 'avatar-server[gpu]', or choose another engine.",
            param="engine",
        ) from error
