"""TensorRT-RTX really parses and builds exported graphs here: no GPU is needed for that."""

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from export.building import build_engine
from export.modules import denoiser_part
from export.quantize import activation_peaks, products, to_fp8
from export.to_onnx import save_graph, to_graph
from export.to_tensorrt import Plan, build_plan
from export.verify import ALLOWED, error_of
from export.windows import recorded, stand_in
from runtime.checkpoint import load_builtin
from runtime.engine.choice import denoiser_parts, window_shape
from runtime.engine.description import Built, EngineDescription
from runtime.engine.tensorrt_library import TensorRT
from runtime.errors import EngineError, Unsupported
from runtime.presets import find_preset
from tests.export.exported import released_block

pytest.importorskip("tensorrt_rtx", reason="pip install 'avatar-server[rtx]'")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the released size, as graph and as engine, and its error in float64 terms."""

    graph: onnx.ModelProto
    plan: Plan
    error: float


def build(graph: onnx.ModelProto, error: float, folder: Path) -> Block:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)  # saving moves the weights out of it
    save_graph(copy, folder)
    return Block(graph, build_plan(TensorRT.named("tensorrt-rtx"), folder / "model.onnx"), error)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Block]:
    """The released model's block in both precisions."""
    part, values = released_block()
    bf16 = to_graph(part, values, "bf16")
    fp8 = to_fp8(bf16, activation_peaks(bf16, [values]))
    graphs = {"bf16": bf16, "fp8": fp8}
    return {
        name: build(graph, error_of(graph, part, values), tmp_path_factory.mktemp(name))
        for name, graph in graphs.items()
    }


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_released_block_is_as_exact_as_its_precision(
    blocks: dict[str, Block], precision: str
) -> None:
    assert blocks[precision].error <= ALLOWED[precision]


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_released_block_takes_and_gives_bfloat16(
    blocks: dict[str, Block], precision: str
) -> None:
    network = blocks[precision].plan.network
    specs = {spec.name: (spec.dtype, spec.shape) for spec in (*network.inputs, *network.outputs)}
    assert specs == {
        "hidden": ("bfloat16", (1, 12, 3072)),
        "rotation": ("bfloat16", (8, 1, 1, 64, 2)),
        "single_00_mod": ("bfloat16", (1, 9216)),
        "hidden_out": ("bfloat16", (1, 12, 3072)),
    }


def test_a_bf16_block_multiplies_in_bf16_only(blocks: dict[str, Block]) -> None:
    layers = blocks["bf16"].plan.network.layers
    assert {name for name in layers if name.startswith("MATRIX")} == {"MATRIX_MULTIPLY BF16"}


def test_both_products_of_a_block_are_quantised_to_fp8(blocks: dict[str, Block]) -> None:
    assert blocks["fp8"].plan.network.layers["QUANTIZE FP8"] == len(products(blocks["bf16"].graph))


def test_an_fp8_engine_is_half_as_large(blocks: dict[str, Block]) -> None:
    ratio = len(blocks["fp8"].plan.engine) / len(blocks["bf16"].plan.engine)
    assert 0.49 < ratio < 0.52


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="cannot read"):
        build_plan(TensorRT.named("tensorrt-rtx"), tmp_path / "model.onnx")


@pytest.mark.slow
def test_the_builtin_model_builds_whole(tmp_path: Path) -> None:
    model, preset = load_builtin(), find_preset("interactive")
    (part,) = denoiser_parts(model.dit.config)
    shape = window_shape(model, preset.window, 1, (256, 256))
    values = recorded(model, stand_in(1), preset, ticks=1)
    built = Built(part.name, "tensorrt-rtx", "fp32", str(shape), "weights")
    description = build_engine(denoiser_part(model.dit, part, shape), values, built, tmp_path)
    description.write(tmp_path)
    read = EngineDescription.read(tmp_path)
    assert [spec.name for spec in read.inputs] == list(part.inputs(model.dit.config))
    assert read.outputs[0].shape == (1, 32, 3, 32, 32)


def test_tensorrt_that_is_not_installed_says_how_to_get_it() -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(Unsupported, match=r"pip install 'avatar-server\[gpu\]'"):
            TensorRT.named("tensorrt")
    else:
        pytest.skip("TensorRT is here")
