"""The engines by name, the precisions of each, and a user's choice of one. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import BadInput, NotFound

FILES = Path("engines")  # the folder of engine files, unless another is named

LARGE = 1024  # a denoiser at least this wide is built, or compiled, block by block

Precision = Literal["fp32", "bf16", "fp16", "fp8", "fp8-attention", "int8"]
"""What a denoiser computes in. "fp8-attention" is "fp8" with attention in FP8 as well."""

WeightPrecision = Literal["fp32", "bf16", "fp8"]
"""What a model's weights are loaded in."""

PRECISIONS: dict[str, tuple[Precision, ...]] = {
    "torch": ("fp32", "bf16", "fp8"),
    "torch-eager": ("fp32", "bf16", "fp8"),
    "torch-graphed": ("fp32", "bf16", "fp8"),
    "torch-fused": ("fp32", "bf16", "fp8", "fp8-attention"),
    "torch-compiled": ("fp32", "bf16", "fp8"),
    "torch-tensorrt": ("fp32", "bf16"),
    "onnx": ("fp32", "int8"),
    "tensorrt": ("fp32", "bf16", "fp16", "fp8"),
    "tensorrt-rtx": ("fp32", "bf16", "fp16", "fp8"),
}
"""The kinds of engine, and the precisions of their denoisers.

The torch kinds compute in the precision in which the weights were loaded. A model folder that can
stream is fp32; a released folder is loaded as asked for.

- "torch": the modules themselves on a GPU. On a CPU in fp32, `CpuDenoiser` and `CpuDecoder`.
- "torch-eager": the modules themselves, everywhere.
- "torch-graphed": the same kernels as "torch-eager", captured as CUDA graphs.
- "torch-fused": `TritonDenoiser`, captured as a CUDA graph.
- "torch-compiled": the denoiser through torch.compile.
- "torch-tensorrt": the denoiser through torch-tensorrt, built anew in every process.
- "onnx", "tensorrt", "tensorrt-rtx": files written by `avatar export`.

With "onnx" on a CPU torch decodes: ONNX Runtime's GridSample alone takes longer there than torch's
whole decoder. With its other providers ONNX Runtime decodes too.
"""

ANY_SHAPE = ("torch", "torch-eager")
"""The kinds that accept windows of every shape; an engine of another kind accepts one shape."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""The devices of "onnx", and ONNX Runtime's names for them."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine by name, with its options.

    `precision` is checked against the loaded weights (torch kinds) or selects a file. `root` and
    `blocks_per_part` are for engines in files only, `provider` (a key of PROVIDERS, None: cpu) and
    `threads` (0: as many as torch has) for "onnx" only.
    """

    kind: str = "torch"
    precision: str = "fp32"
    root: Path = FILES
    provider: str | None = None
    threads: int = 0
    blocks_per_part: int = 1

    def __post_init__(self) -> None:
        check_precision(self.kind, self.precision)
        check_provider(self.kind, self.provider)


def weight_precision(precision: str) -> str:
    """The `WeightPrecision` that a torch engine of this precision needs."""
    return "fp8" if precision == "fp8-attention" else precision


def check_precision(kind: str, precision: str) -> None:
    """Raises NotFound if there is no such engine, BadInput if it has no such precision."""
    if kind not in PRECISIONS:
        raise NotFound.among("engine", kind, PRECISIONS, param="engine")
    if precision not in PRECISIONS[kind]:
        raise BadInput(
            f"The engine {kind} computes in {', '.join(PRECISIONS[kind])}, not in {precision!r}. "
            "Ask for one of these precisions.",
            param="precision",
        )


def check_provider(kind: str, provider: str | None) -> None:
    """Raises NotFound if there is no such provider, BadInput if the engine takes none."""
    if provider is None:
        return
    if provider not in PROVIDERS:
        raise NotFound.among("provider", provider, PROVIDERS, param="provider")
    if kind != "onnx":
        raise BadInput(
            f"The provider {provider!r} was asked for with the engine {kind}, but only the engine "
            "onnx has providers. Use --engine onnx, or leave the provider out.",
            param="provider",
        )
