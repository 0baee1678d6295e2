"""Engines of the small random model, exported once for all tests of a run."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import onnx
import torch

from benchmarks.random_weights.block_engines import random_block
from export.building import Target, make_denoiser, make_small_parts
from export.cache import EngineCache
from export.calibration import CalibrationCollector
from export.example_inputs import Values, random_values
from export.modules import Exportable, denoiser_part
from runtime.engine.choice import denoiser_parts
from runtime.engine.parts import DenoiserPart, WindowShape, whole
from runtime.models.dit.config import DiTConfig
from runtime.weights.checkpoint import AvatarModel, load
from tests.support.models.small_model import SMALL_DIT, random_model
from tests.support.models.small_world import save_model

ONE_SINGLE = replace(SMALL_DIT, single_blocks=1)
SHAPE = WindowShape(3, speakers=1, rows=8, columns=8, text_tokens=2, kept_tokens=12)


def random_calls(model: AvatarModel, shape: WindowShape = SHAPE, seed: int = 0) -> list[Values]:
    """One call of the whole denoiser."""
    config = model.dit.config
    return [random_values(whole(config)[0].inputs(config), config, shape, seed)]


@cache
def model_folder() -> Path:
    """The small model as it lies on a disk."""
    return save_model(random_model(0, ONE_SINGLE), Path(mkdtemp()) / "model")


@cache
def small_engines() -> tuple[AvatarModel, Path]:
    """The model, and a folder with its three ONNX engines in float32 for `SHAPE`."""
    model, root = load(model_folder()), Path(mkdtemp(prefix="engines-"))
    target = Target("onnx", "fp32", EngineCache(root))
    parts = denoiser_parts(model.dit.config)
    collector = CalibrationCollector(model.dit, parts, SHAPE, lambda: random_calls(model))
    make_denoiser(model.dit, parts, SHAPE, collector.at, target)
    make_small_parts(model, SHAPE.rows, SHAPE.columns, target)
    return model, root


# The released model's size: one block of it, random weights, twelve tokens.
BLOCK_SHAPE = WindowShape(latent_frames=1, speakers=1, rows=4, columns=4, text_tokens=4)
BLOCK_CONFIG = DiTConfig(
    hidden_size=3072, heads=24, double_blocks=3, single_blocks=1, refiner_blocks=0
)
BLOCKS = {
    "single": DenoiserPart("single_00", range(0), range(1)),  # 113 M parameters, modulation apart
    "double": DenoiserPart("double_01", range(1, 2), range(0)),  # 226 M, and its audio adapter
}


def released_block(kind: str, width: int) -> tuple[Exportable, Values]:
    """A block without its modulation, and inputs for it; `kind` is of BLOCKS.

    The release's is 3072 wide; a narrower one has fewer heads, of the same size.
    """
    config = replace(BLOCK_CONFIG, hidden_size=width, heads=width // BLOCK_CONFIG.head_dim)
    dit = random_block(config, BLOCKS[kind])
    part = denoiser_part(dit, BLOCKS[kind], BLOCK_SHAPE)
    return part, random_values(part.inputs, config, BLOCK_SHAPE)


def parameters_in(graph: onnx.ModelProto) -> int:
    """How many numbers the graph holds; without modulation weights it is fewer."""
    return sum(
        int(torch.tensor(list(tensor.dims)).prod()) if tensor.dims else 1
        for tensor in graph.graph.initializer
    )
