"""Every way of telling the transformer about the picture runs as an engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.building import Target, make_denoiser, make_small_parts
from export.cache import EngineCache
from export.calibration import CalibrationCollector
from export.example_inputs import random_values
from export.modules import denoiser_part
from export.quantize import activation_peaks, to_fp8
from export.to_onnx import to_graph
from export.verify import ALLOWED, error_of
from runtime.engine.choice import open_engines
from runtime.engine.engine_keys import denoiser_parts
from runtime.engine.kinds import EngineChoice
from runtime.engine.parts import in_blocks
from runtime.engine.torch_engine import default_engines
from runtime.stream.engines import Engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.weights.checkpoint import AvatarModel
from tests.support.engines.exported import SHAPE, random_calls
from tests.support.models.small_dit import every_injection
from tests.support.models.small_model import SMALL_DIT, random_model
from tests.support.models.small_world import babble, pixels, run, small_character

pytestmark = pytest.mark.slow

PRESET = StreamPreset("all past", window=3, hop=1, shift=0, steps=2)


def engines_of(model: AvatarModel, root: Path) -> Engines:
    target, parts = Target("onnx", "fp32", EngineCache(root)), denoiser_parts(model.dit.config)
    collector = CalibrationCollector(model.dit, parts, SHAPE, lambda: random_calls(model))
    make_denoiser(model.dit, parts, SHAPE, collector.at, target)
    make_small_parts(model, SHAPE.rows, SHAPE.columns, target)
    return open_engines(EngineChoice("onnx", root=root), model, SHAPE)


@pytest.mark.slow  # `add` runs in test_onnx_engine too
@every_injection
def test_a_stream_on_onnx_runtime_shows_the_same_pictures_as_torch(injection, tmp_path):
    model = random_model(0, replace(SMALL_DIT, single_blocks=1, injection=injection))
    character = small_character(tmp_path)

    def video(engines: Engines) -> np.ndarray:
        stream = StreamingGenerator(model, character, PRESET, engines=engines)
        stream.push("ana", babble(0.6))
        return pixels(run(stream)).astype(np.int16)

    difference = np.abs(
        video(engines_of(model, tmp_path / "engines")) - video(default_engines(model))
    )
    assert difference.max() <= 1  # of 255: float32 sums in another order, then rounding


@every_injection
def test_the_embedding_is_a_separate_engine_in_fp8(injection):
    config = replace(SMALL_DIT, hidden_size=128, rope_dims=(16, 24, 24), injection=injection)
    part = denoiser_part(random_model(0, config).dit, in_blocks(config)[0], SHAPE)
    values = random_values(part.inputs, config, SHAPE)
    wide = to_graph(part, values, "bf16")
    graph = to_fp8(wide, activation_peaks(wide, [values]))
    assert "QuantizeLinear" in {node.op_type for node in graph.graph.node}
    assert error_of(graph, part, values) <= ALLOWED["fp8"]
