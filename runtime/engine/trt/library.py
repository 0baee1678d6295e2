"""TensorRT and TensorRT-RTX: two Python modules with the same API, chosen by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import torch

from runtime.errors import NotFound, Unsupported

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
PLAN = "engine.plan"  # the file in an engine's folder
EXTRAS = {"tensorrt": "gpu", "tensorrt-rtx": "rtx"}
RTX_CAPABILITIES = ((8, 0), (8, 6), (8, 9))  # and 12.0 or later, according to version 1.7.1


@dataclass(frozen=True, slots=True)
class TensorRT:
    """One of the two libraries, imported."""

    kind: str
    module: ModuleType

    @classmethod
    def named(cls, kind: str) -> TensorRT:
        """Import the library of that kind; Unsupported if it is not installed."""
        if kind not in MODULES:
            raise NotFound.among("TensorRT", kind, MODULES)
        try:
            return cls(kind, importlib.import_module(MODULES[kind]))
        except ImportError as error:
            raise Unsupported(
                f"{MODULES[kind]} cannot be imported ({error}). Install it: "
                f"pip install 'avatar-server[{EXTRAS[kind]}]'."
            ) from error

    @property
    def version(self) -> str:
        return f"{MODULES[self.kind]} {self.module.__version__}"

    def check_gpu(self) -> None:
        """Raise Unsupported if the library's engines cannot run on this machine's GPU."""
        if not torch.cuda.is_available():
            raise Unsupported(
                f"{self.version} needs an NVIDIA GPU, and there is none here. "
                "Use --engine onnx or --engine torch."
            )
        found = torch.cuda.get_device_capability()
        if self.kind == "tensorrt-rtx" and found not in RTX_CAPABILITIES and found < (12, 0):
            raise Unsupported(
                f"{self.version} runs on GPUs of compute capability 8.0, 8.6, 8.9 and from 12.0 "
                f"on; {torch.cuda.get_device_name()} has {found[0]}.{found[1]}. Use --engine "
                "tensorrt or torch-fused."
            )

    def gpu(self) -> str:
        """The GPU that an engine built here runs on: this one, or "RTX" for TensorRT-RTX."""
        if self.kind == "tensorrt-rtx":
            return "RTX"
        if not torch.cuda.is_available():
            raise Unsupported(
                "TensorRT builds engines for the GPU of the machine that builds, and there is none "
                "here. Build on the machine that serves, or for RTX cards: avatar export "
                "tensorrt-rtx."
            )
        major, minor = torch.cuda.get_device_capability()
        return f"{torch.cuda.get_device_name()}, sm_{major}{minor}"
