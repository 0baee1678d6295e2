"""The model's benchmark: what it counts and derives, and that it runs. No time is asserted."""

import math

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.random_weights.model_speed import (
    PRESETS,
    SIZES,
    Timing,
    devices_for_real_time,
    figures,
    run,
)
from benchmarks.random_weights.random_model import (
    WindowSize,
    denoise_flops,
    random_call,
    random_dit,
)
from runtime.engine.torch_engine import CompiledBlocks
from runtime.errors import NotFound, Unsupported
from runtime.models.dit.config import RELEASED, TINY, DiTConfig
from runtime.models.fp8.linear import ScaledFp8Linear
from runtime.stream.presets import StreamPreset

CPU = torch.device("cpu")
SCHEDULE = StreamPreset("test", window=9, hop=5, shift=0, steps=4)  # 800 ms a tick


def by_formula(config: DiTConfig, size: WindowSize) -> int:
    """The products of the blocks and adapters, written down from the paper's figure."""
    grid = size.rows * size.columns // 4
    video, image = size.latent_frames * grid, (size.latent_frames + 1) * grid
    tokens, width, mlp = image + size.text_tokens, config.hidden_size, config.mlp_size
    double = 2 * tokens * (4 * width**2 + 2 * width * mlp)
    single = 2 * tokens * (width * (3 * width + mlp) + (width + mlp) * width)
    attention = 4 * tokens**2 * width
    keys = size.speakers * 4 * config.audio_tokens
    adapter = 4 * video * config.adapter_dim * (width + keys)
    ends = 2 * video * width * (4 * config.in_channels + config.patch_values)
    blocks = config.double_blocks * (double + attention) + config.single_blocks * (
        single + attention
    )
    return blocks + config.adapters * adapter + ends


@pytest.mark.parametrize("speakers", [1, 2])
def test_operations_are_counted_as_by_hand(speakers: int) -> None:
    size = WindowSize(3, 4, 6, text_tokens=5, speakers=speakers)
    assert denoise_flops(SIZES["tiny"], size) == by_formula(SIZES["tiny"], size)


def test_the_released_model_takes_237_tflop_for_33_frames_of_512_pixels() -> None:
    assert by_formula(RELEASED, WindowSize(9, 64, 64)) == pytest.approx(237e12, rel=0.01)


def test_our_own_modules_are_counted_too() -> None:
    size = WindowSize(2, 8, 8, text_tokens=4)
    assert denoise_flops(TINY, size) > by_formula(TINY, WindowSize(2, 4, 4, text_tokens=4))


def test_weights_are_drawn_in_the_wanted_type_without_modulations() -> None:
    dit = random_dit(SIZES["tiny"], CPU, "bf16")
    assert {parameter.dtype for parameter in dit.parameters()} == {torch.bfloat16}
    assert isinstance(dit.double_blocks[0].img_mod, nn.Identity)


def test_fp8_is_for_the_blocks_linears() -> None:
    dit = random_dit(SIZES["tiny"], CPU, "fp8")
    assert isinstance(dit.single_blocks[0].linear1, ScaledFp8Linear)
    assert not isinstance(dit.final_layer.linear, ScaledFp8Linear)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_random_weights_give_finite_numbers(precision: str) -> None:
    size = WindowSize(2, 4, 4, text_tokens=4)
    dit = random_dit(SIZES["tiny"], CPU, precision)
    call = random_call(dit, size, CPU, precision)
    with torch.inference_mode():
        out = dit.denoise(call.x, call.step, call.window)
    assert out.shape == call.x.shape
    assert out.isfinite().all()


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp8", 5e-2)])
def test_blocks_compile_whole(precision: str, bound: float) -> None:
    """With another formula for GELU, whose last bits let FP8 round the other way now and then."""
    size = WindowSize(2, 4, 4, text_tokens=4)
    dit = random_dit(SIZES["tiny"], CPU, precision)
    call = random_call(dit, size, CPU, precision)
    with torch.inference_mode():
        expected = dit.denoise(call.x, call.step, call.window)
        blocks = CompiledBlocks(dit, backend="eager")
        found = blocks.denoise(call.x, call.step, call.window)
    assert (found - expected).norm() < bound * expected.norm()


def test_the_real_time_factor_counts_steps_and_decoding() -> None:
    derived = figures(Timing(step=180, decode=16, first_frame=700), SCHEDULE, int(9e13), 1000.0)
    assert derived["real-time factor"] == pytest.approx((4 * 180 + 5 * 16) / 800)
    assert derived["TFLOP/s"] == pytest.approx(500)
    assert derived["share of the peak"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("step_ms", "decode_ms", "devices"),
    [(100, 10, 1), (190, 10, 2), (390, 10, 3), (700, 10, 4), (780, 10, 5), (900, 10, None)],
)
def test_devices_for_real_time_share_the_steps(
    step_ms: float, decode_ms: float, devices: int | None
) -> None:
    assert devices_for_real_time(Timing(step_ms, decode_ms, 0), SCHEDULE) == devices


def test_it_runs_on_a_cpu_in_miniature() -> None:
    values = run("tiny", "smoke", "fp32", "eager", CPU, runs=1)
    measured = [values[name] for name in ("ms a step", "decode, ms a latent frame", "TFLOP/s")]
    assert all(math.isfinite(value) and value > 0 for value in measured)
    assert values["first frame, ms after its sound"] > 0
    assert values["peak memory, GB"] is None


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fit_the_release(preset: str) -> None:
    live = PRESETS[preset]
    assert live.width_px % 16 == 0
    assert live.height_px % 16 == 0


@pytest.mark.parametrize(
    ("size", "preset", "precision", "engine", "known"),
    [
        ("14b", "smoke", "fp32", "eager", "13b"),
        ("tiny", "live", "fp32", "eager", "live-512"),
        ("tiny", "smoke", "int4", "eager", "bf16"),
        ("tiny", "smoke", "fp32", "fast", "compiled"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(
    size: str, preset: str, precision: str, engine: str, known: str
) -> None:
    with pytest.raises(NotFound, match=known):
        run(size, preset, precision, engine, CPU, runs=1)


@pytest.mark.parametrize(
    ("precision", "engine", "reason"),
    [("bf16", "fused", "NVIDIA GPU"), ("fp8-attention", "eager", "does not attend in FP8")],
)
def test_a_precision_that_an_engine_lacks_is_refused(
    precision: str, engine: str, reason: str
) -> None:
    with pytest.raises(Unsupported, match=reason):
        run("tiny", "smoke", precision, engine, CPU, runs=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_command_says_what_to_do() -> None:
    ran = CliRunner().invoke(app, ["model"])
    assert ran.exit_code == 1
    assert "--device cpu" in ran.output
