"""ONNX files to TensorRT or TensorRT-RTX engines: one code path, two modules of the same API.

Networks are strongly typed: the graph decides the precision. TensorRT-RTX builds without a GPU;
TensorRT builds for the GPU of this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.engine.description import TensorSpec
from runtime.engine.trt.library import TensorRT
from runtime.errors import EngineError

DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "FP8": "float8_e4m3fn",
    "INT32": "int32", "INT64": "int64", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's names of number types, and torch's."""


@dataclass(frozen=True, slots=True)
class Network:
    """A graph as TensorRT parsed it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: dict[str, int]  # "MATRIX_MULTIPLY BF16": how many layers of that kind and type


@dataclass(frozen=True, slots=True)
class Plan:
    """A built engine, and its network."""

    network: Network
    engine: bytes


def build_plan(
    library: TensorRT, file: Path, progress: Callable[[str], None] = lambda phase: None
) -> Plan:
    """Builds the engine of an ONNX file; `progress` gets each phase. EngineError if that fails."""
    trt = library.module
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(file)):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(
            f"{library.version} cannot read {file}: {errors}. Export it again; if that does not "
            "help, use --engine torch."
        )
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32
    config.progress_monitor = _monitor(trt, progress)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(
            f"{library.version} cannot build {file}; its log above says why. More free memory or "
            "fewer blocks per engine (--blocks) may help."
        )
    return Plan(_describe(network), bytes(engine))


def _describe(network: Any) -> Network:
    layers = (network.get_layer(i) for i in range(network.num_layers))
    counted = Counter(f"{layer.type.name} {layer.get_output(0).dtype.name}" for layer in layers)
    return Network(
        tuple(_spec(network.get_input(i)) for i in range(network.num_inputs)),
        tuple(_spec(network.get_output(i)) for i in range(network.num_outputs)),
        dict(counted),
    )


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(tensor.name, DTYPES[tensor.dtype.name], tuple(tensor.shape))


def _monitor(trt: Any, progress: Callable[[str], None]) -> Any:
    """Passes TensorRT's progress reports to `progress`; the base class comes with the module."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress(name)

        def step_complete(self, name: str, step: int) -> bool:
            return True  # True continues the build

        def phase_finish(self, name: str) -> None:
            pass

    return Monitor()
