"""Engines of one block of the released size: whether this GPU runs them, how exactly, how fast.

TensorRT-RTX engines build on any machine; only a trial shows whether a card runs them.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.random_weights.random_model import without_modulations
from benchmarks.random_weights.stopwatch import times_ms
from export.building import build_engine
from export.example_inputs import Values, random_values
from export.modules import Exportable, denoiser_part
from export.verify import in_float64, relative_l2
from runtime.engine.description import EngineKey
from runtime.engine.parts import DenoiserPart, WindowShape
from runtime.engine.trt.engine import TensorRTChain
from runtime.engine.trt.library import TensorRT
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT

CHECKED = WindowShape(latent_frames=1, speakers=1, rows=4, columns=4, text_tokens=4)
NONE = range(0)


def run(
    kind: str, config: DiTConfig, shape: WindowShape, precision: str, runs: int
) -> dict[str, Any]:
    """Measures a double block and a single block, built for `shape`, on the current GPU.

    Unsupported or EngineError say why there is no engine for this machine.
    """
    library = TensorRT.named(kind)
    library.check_gpu()
    parts = {
        "double": DenoiserPart("double_01", range(1, 2), NONE),
        "single": DenoiserPart("single_00", NONE, range(1)),
    }
    found: dict[str, Any] = {"library": library.version}
    for name, part in parts.items():
        dit = random_block(config, part)
        found[name] = measure(library, dit, part, shape, precision, runs)
    return found


def measure(
    library: TensorRT,
    dit: DiT,
    part: DenoiserPart,
    shape: WindowShape,
    precision: str,
    runs: int,
) -> dict[str, Any]:
    """Builds the block's engine for `shape` and times it; a smaller one gives the error."""
    checked = denoiser_part(dit, part, CHECKED)
    values = random_values(checked.inputs, dit.config, CHECKED)
    exact = error_on_gpu(library, checked, values, precision)
    served = denoiser_part(dit, part, shape)
    inputs = random_values(served.inputs, dit.config, shape)
    with TemporaryDirectory() as folder:
        built = described(library, part, shape, precision)
        description = build_engine(checked, [values], built, Path(folder), served=(served, inputs))
        chain = TensorRTChain(library, [(Path(folder), description)])
    here = {name: value.cuda() for name, value in inputs.items()}
    device = torch.device("cuda")
    return {
        "relative L2 to float64": exact,
        "ms": median(times_ms(lambda: chain.run(here), device, 3, runs)),
    }


def error_on_gpu(library: TensorRT, part: Exportable, values: Values, precision: str) -> float:
    """Relative L2 error of the engine's worst output on the GPU, against float64 torch."""
    with TemporaryDirectory() as folder:
        built = EngineKey(part.name, library.kind, precision, str(CHECKED), "random")
        description = build_engine(part, [values], built, Path(folder))
        chain = TensorRTChain(library, [(Path(folder), description)])
    found = chain.run({name: value.cuda() for name, value in values.items()})
    expected = in_float64(part, values)
    return max(
        relative_l2(found[name.removesuffix("_out")].float().cpu(), value)
        for name, value in expected.items()
    )


def described(
    library: TensorRT, part: DenoiserPart, shape: WindowShape, precision: str
) -> EngineKey:
    return EngineKey(
        part.name, library.kind, precision, str(shape), "random", library.version, library.gpu()
    )


def random_block(config: DiTConfig, part: DenoiserPart) -> DiT:
    """A transformer with memory and random weights only for the blocks of the part."""
    with torch.device("meta"):
        dit = DiT(config)
    without_modulations(dit)
    read = [dit.double_blocks[index] for index in part.double]
    read += [dit.audio_adapter_blocks[index // 2] for index in part.double if index % 2]
    read += [dit.single_blocks[index] for index in part.single]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in read:
            for name, parameter in module.to_empty(device="cpu").named_parameters():
                scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.1
                mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.normal_(mean, scale, generator=generator)
    return dit
