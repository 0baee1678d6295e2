"""TensorRT-RTX really parses and builds exported graphs here: no GPU is needed for that."""

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from export.building import build_engine
from export.calibration import recorded, spoken_by
from export.modules import denoiser_part
from export.quantize import activation_peaks, products, to_fp8
from export.to_onnx import save_graph, to_graph
from export.to_tensorrt import Network, Plan, build_plan
from export.verify import ALLOWED, error_of
from runtime.engine.choice import stream_shape
from runtime.engine.description import EngineDescription, EngineKey
from runtime.engine.engine_keys import denoiser_parts
from runtime.engine.trt.library import TensorRT
from runtime.errors import EngineError, Unsupported
from runtime.stream.presets import find_preset
from runtime.weights.checkpoint import load_builtin
from tests.support.engines.exported import parameters_in, released_block

pytestmark = pytest.mark.slow

pytest.importorskip("tensorrt_rtx", reason="pip install 'avatar-server[rtx]'")

# Kinds and widths. The release's is 3072; narrower, the same graph builds in a few seconds.
SIZES = [
    ("single", 1024),
    pytest.param(("single", 3072), marks=pytest.mark.slow),
    pytest.param(("double", 3072), marks=pytest.mark.nightly),
]


def specs_of(kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """What goes into a block and comes out, and its shape."""
    if kind == "single":
        return {
            "hidden": (1, 12, width),
            "rotation": (8, 1, 1, 64, 2),
            "single_00_mod": (1, 3 * width),
            "hidden_out": (1, 12, width),
        }
    return {
        "img": (1, 8, width),
        "txt": (1, 4, width),
        "rotation": (8, 1, 1, 64, 2),
        "masks": (1, 1, 4, 1, 1),
        "audio_00": (1, 1, 16, 2048),
        "double_01_img_mod": (1, 6 * width),
        "double_01_txt_mod": (1, 6 * width),
        "img_out": (1, 8, width),
        "txt_out": (1, 4, width),
    }


@dataclass(frozen=True, slots=True)
class Block:
    """A released block: its errors in float64 terms, its engines, its size in bf16."""

    kind: str
    width: int
    errors: dict[str, float]  # by precision
    networks: dict[str, Network]
    engine_bytes: dict[str, int]
    products: int  # matrix products with a weight
    parameters: int


def planned(graph: onnx.ModelProto, folder: Path) -> Plan:
    """The engine of a graph; saving empties the graph."""
    save_graph(graph, folder)
    return build_plan(TensorRT.named("tensorrt-rtx"), folder / "model.onnx")


@pytest.fixture(scope="module", params=SIZES, ids=str)
def block(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Block:
    """A released model's block in all precisions; one graph in memory at a time."""
    part, values = released_block(*request.param)
    errors = {"fp32": error_of(to_graph(part, values, "fp32"), part, values)}
    graph = to_graph(part, values, "bf16")
    errors["bf16"] = error_of(graph, part, values)
    quantised = to_fp8(graph, activation_peaks(graph, [values]))
    errors["fp8"] = error_of(quantised, part, values)
    counted = len(products(graph)), parameters_in(graph)
    plans = {
        "bf16": planned(graph, tmp_path_factory.mktemp("bf16")),
        "fp8": planned(quantised, tmp_path_factory.mktemp("fp8")),
    }
    networks = {name: plan.network for name, plan in plans.items()}
    sizes = {name: len(plan.engine) for name, plan in plans.items()}
    return Block(*request.param, errors, networks, sizes, *counted)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_a_released_block_is_as_exact_as_its_precision(block: Block, precision: str) -> None:
    assert block.errors[precision] <= ALLOWED[precision]


def test_a_released_block_leaves_its_modulation_out(block: Block) -> None:
    square = block.width**2
    adapter = 2 * 1024 * block.width  # its queries and output
    expected = {"single": 12 * square, "double": 24 * square + adapter}[block.kind]
    assert block.parameters == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_released_block_takes_and_gives_bfloat16(block: Block, precision: str) -> None:
    network = block.networks[precision]
    specs = {spec.name: spec.shape for spec in (*network.inputs, *network.outputs)}
    assert specs == specs_of(block.kind, block.width)
    assert {spec.dtype for spec in (*network.inputs, *network.outputs)} == {"bfloat16"}


def test_a_bf16_block_multiplies_weights_in_bf16_only(block: Block) -> None:
    products = {
        name: count
        for name, count in block.networks["bf16"].layers.items()
        if name.startswith("MATRIX")
    }
    assert products.keys() == {"MATRIX_MULTIPLY BF16"}


def test_every_product_of_a_block_is_quantised_to_fp8(block: Block) -> None:
    assert block.products == {"single": 2, "double": 8 + 2}[block.kind]
    assert block.networks["fp8"].layers["QUANTIZE FP8"] == block.products


def test_an_fp8_engine_is_half_as_large(block: Block) -> None:
    half = block.engine_bytes["bf16"] / 2
    assert -0.02 * half < block.engine_bytes["fp8"] - half < 2e6  # scales, and code


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="cannot read"):
        build_plan(TensorRT.named("tensorrt-rtx"), tmp_path / "model.onnx")


@pytest.mark.slow
def test_the_builtin_model_builds_whole(tmp_path: Path) -> None:
    model, preset = load_builtin(), find_preset("interactive")
    (part,) = denoiser_parts(model.dit.config)
    shape = stream_shape(model, spoken_by(1)[0], preset.window)
    values = recorded(model, spoken_by(1)[0], preset, ticks=1)
    built = EngineKey(part.name, "tensorrt-rtx", "fp32", str(shape), "weights")
    description = build_engine(denoiser_part(model.dit, part, shape), values, built, tmp_path)
    description.write(tmp_path)
    read = EngineDescription.read(tmp_path)
    assert [spec.name for spec in read.inputs] == list(part.inputs(model.dit.config))
    assert read.outputs[0].shape == (1, model.dit.config.out_channels, preset.window, 4, 4 * 48)


def test_without_tensorrt_the_error_says_how_to_get_it() -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(Unsupported, match=r"pip install 'avatar-server\[gpu\]'"):
            TensorRT.named("tensorrt")
    else:
        pytest.skip("TensorRT is here")
