"""The engines there are, by name, and the choice of one. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BadInput, NotFound

FILES = Path("engines")  # the folder of engines, unless another is named

LARGE = 1024  # from this width on a denoiser is built, or compiled, block by block

PRECISIONS = {
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
"""Kinds of engine, and what their denoisers compute in.

The torch kinds compute in what the model was loaded in: a folder that streams is fp32, a released
one is loaded as asked for. "torch-eager" runs the modules as they are. So does "torch" on a GPU; on
a CPU in fp32 it runs the same function with less around its products (fused_engine.py,
fused_decoder.py). "torch-fused" does that on a GPU (fused_gpu.py); in "fp8-attention" a model that
was loaded in fp8 also attends in FP8.

With "onnx" on a CPU torch decodes: ONNX Runtime's GridSample there takes longer than the whole of
torch's decoder. On its other providers ONNX Runtime decodes too.
"""

ANY_SHAPE = ("torch", "torch-eager")
"""Kinds that serve windows of every shape; an engine of another kind serves one shape only."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Where "onnx" runs, and what ONNX Runtime calls that."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine by name. All but `kind` counts only for engines that lie in files under `root`.

    `provider` is of PROVIDERS, for "onnx" alone; None: cpu. `threads` 0: as many as torch has.
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


def loaded_as(precision: str) -> str:
    """What weights a precision of a torch engine needs."""
    return "fp8" if precision == "fp8-attention" else precision


def check_precision(kind: str, precision: str) -> None:
    """NotFound where there is no such engine, BadInput where it has no such precision."""
    if kind not in PRECISIONS:
        raise NotFound.among("engine", kind, PRECISIONS, param="engine")
    if precision not in PRECISIONS[kind]:
        raise BadInput(
            f"The engine {kind} computes in {', '.join(PRECISIONS[kind])}, not in {precision!r}.",
            param="precision",
        )


def check_provider(kind: str, provider: str | None) -> None:
    """NotFound where there is no such provider, BadInput where the engine asks none."""
    if provider is None:
        return
    if provider not in PROVIDERS:
        raise NotFound.among("provider", provider, PROVIDERS, param="provider")
    if kind != "onnx":
        raise BadInput(
            f"Found the provider {provider!r} with the engine {kind}, expected the engine onnx: "
            "providers are ONNX Runtime's. Ask for onnx, or leave the provider out.",
            param="provider",
        )
