"""Engines of the small model: described, verified, without modulation weights."""

from pathlib import Path

import onnx
import pytest

from export.building import Target, make_denoiser
from export.cache import EngineCache
from export.calibration import CalibrationCollector
from export.quantize import to_int8
from export.to_onnx import WEIGHTS
from export.verify import ALLOWED, check_error
from runtime.engine.description import EngineDescription
from runtime.engine.engine_keys import denoiser_parts
from runtime.errors import EngineError
from tests.support.engines.exported import SHAPE, parameters_in, random_calls, small_engines

pytestmark = pytest.mark.slow


def engine_folder(part: str) -> Path:
    _, root = small_engines()
    return next(root.glob(f"onnx-fp32-{part}-*"))


@pytest.mark.parametrize("part", ["denoiser", "decoder", "audio_encoder"])
def test_float32_engines_agree_with_float64_torch(part: str) -> None:
    error = EngineDescription.read(engine_folder(part)).error
    assert error is not None
    assert error <= ALLOWED["fp32"]


def test_modulation_weights_and_embedders_are_left_out() -> None:
    model, _ = small_engines()
    graph = onnx.load(str(engine_folder("denoiser") / "model.onnx"))
    read = ("img_in.", "double_blocks.", "single_blocks.", "final_layer.linear.",
            "audio_adapter_blocks.", "emotion_blocks.")  # fmt: skip
    outside = ("_mod.", "modulation.", "norm1.", "to_kv.")  # AdaLN; keys made once per window
    kept = sum(
        value.numel()
        for name, value in model.dit.state_dict().items()
        if name.startswith(read)
        and not any(word in name for word in outside)
        and name != "emotion_blocks.0.k_norm.weight"
    )
    assert parameters_in(graph) == pytest.approx(kept, rel=0.02)  # and a few constants


def test_weights_are_in_a_file_beside_the_graph() -> None:
    assert (engine_folder("denoiser") / WEIGHTS).stat().st_size > 100_000


def test_a_described_engine_is_not_built_again() -> None:
    model, root = small_engines()

    def must_not_record() -> list[dict[str, object]]:
        raise AssertionError("the engine was there")

    parts = denoiser_parts(model.dit.config)
    collector = CalibrationCollector(model.dit, parts, SHAPE, must_not_record)
    made = make_denoiser(
        model.dit, parts, SHAPE, collector.at, Target("onnx", "fp32", EngineCache(root))
    )
    assert made[0].folder == engine_folder("denoiser")


def test_int8_weights_take_a_quarter_of_the_room(tmp_path: Path) -> None:
    wide = engine_folder("denoiser") / "model.onnx"
    to_int8(wide, tmp_path / "narrow.onnx")
    graph = onnx.load(str(tmp_path / "narrow.onnx"))
    narrow = [t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert sum(len(t.raw_data) for t in narrow) > 0.8 * parameters_in(onnx.load(str(wide)))


def test_an_engine_that_differs_too_much_is_refused() -> None:
    with pytest.raises(EngineError, match=r"differs from float64 torch by 0\.1"):
        check_error(0.1, "single_00", "fp8")


def test_an_engine_that_gives_no_numbers_is_refused() -> None:
    with pytest.raises(EngineError, match="nan"):
        check_error(float("nan"), "single_00", "bf16")


def test_calls_are_random_but_the_same_each_time() -> None:
    model, _ = small_engines()
    first, again = random_calls(model)[0], random_calls(model)[0]
    assert all((first[name] == again[name]).all() for name in first)
