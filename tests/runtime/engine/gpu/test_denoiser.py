"""The Triton denoiser against the plain transformer; on a GPU if there is one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.random_weights.model_speed import SIZES
from benchmarks.random_weights.random_model import Call, WindowSize, random_call, random_dit
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.kinds import EngineChoice, weight_precision
from runtime.errors import Unsupported
from runtime.models.dit.dit import DiT
from runtime.stream.generator import StreamingGenerator
from tests.support.models.fp8 import dequantized
from tests.support.models.small_world import (
    PRESETS,
    babble,
    pixels,
    run,
    small_character,
    small_model,
)

pytest.importorskip("triton", reason="Triton comes with torch for CUDA on Linux")

from runtime.engine.gpu.cuda_graph import GraphedDenoiser
from runtime.engine.gpu.denoiser import TritonDenoiser
from runtime.engine.gpu.fp8_attention import Fp8Attention, scale_of

pytestmark = [pytest.mark.kernels, pytest.mark.slow]
IS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if IS_GPU else "cpu")
needs_gpu = pytest.mark.skipif(not IS_GPU, reason="needs an NVIDIA GPU")
SIZE = WindowSize(latent_frames=2, rows=4, columns=4, text_tokens=3)
# FP8: the interpreter truncates instead of rounding.
ERRORS = {"fp32": 2e-6, "bf16": 2e-2, "fp8": 6e-2 if IS_GPU else 0.12}


@pytest.fixture(params=ERRORS)
def given(request: pytest.FixtureRequest) -> tuple[DiT, Call, float]:
    torch.manual_seed(0)
    dit = random_dit(SIZES["tiny"], DEVICE, request.param)
    return dit, random_call(dit, SIZE, DEVICE, request.param), ERRORS[request.param]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("newest", [None, 1])
def test_it_computes_what_the_transformer_does(
    given: tuple[DiT, Call, float], newest: int | None
) -> None:
    dit, call, error = given
    window = replace(call.window, newest=newest)
    with torch.inference_mode():
        expected = dit.denoise(call.x, call.step, window)
    found = TritonDenoiser(dit).denoise(call.x, call.step, window)
    assert found.shape == expected.shape
    assert relative(found, expected) < error


@pytest.mark.parametrize("speakers", [1, 2])
def test_audio_and_emotion_of_every_speaker_have_their_effect(speakers: int) -> None:
    torch.manual_seed(0)
    dit = random_dit(replace(SIZES["tiny"], emotion=True), DEVICE, "fp32")
    call = random_call(dit, replace(SIZE, speakers=speakers, text_tokens=1), DEVICE, "fp32")
    with torch.inference_mode():
        expected = dit.denoise(call.x, call.step, call.window)
        masked = replace(call.window, masks=torch.zeros_like(call.window.masks))
        without_audio = dit.denoise(call.x, call.step, masked)
    found = TritonDenoiser(dit).denoise(call.x, call.step, call.window)
    assert relative(found, expected) < ERRORS["fp32"]
    assert relative(without_audio, expected) > 100 * ERRORS["fp32"]


def test_rotations_may_be_complex(given: tuple[DiT, Call, float]) -> None:
    dit, call, _ = given
    denoiser = TritonDenoiser(dit)
    rotation = torch.view_as_complex(call.window.rotation)
    turned = denoiser.denoise(call.x, call.step, replace(call.window, rotation=rotation))
    assert torch.equal(turned, denoiser.denoise(call.x, call.step, call.window))


def test_inputs_are_not_changed(given: tuple[DiT, Call, float]) -> None:
    dit, call, _ = given
    before = call.step.text.clone(), call.window.reference.clone()
    TritonDenoiser(dit).denoise(call.x, call.step, call.window)
    assert torch.equal(call.step.text, before[0])
    assert torch.equal(call.window.reference, before[1])


def test_several_windows_are_refused(given: tuple[DiT, Call, float]) -> None:
    dit, call, _ = given
    with pytest.raises(Unsupported, match="one window"):
        TritonDenoiser(dit).denoise(torch.cat((call.x, call.x)), call.step, call.window)


@pytest.mark.skipif(IS_GPU, reason="there is a GPU here")
def test_without_a_gpu_it_says_what_it_needs(tmp_path: Path) -> None:
    model = small_model()
    shape = stream_shape(model, small_character(tmp_path), PRESETS[0].window)
    with pytest.raises(Unsupported, match="needs an NVIDIA GPU"):
        open_engines(EngineChoice("torch-fused"), model, shape)


@pytest.mark.skipif(IS_GPU, reason="there is a GPU here")
def test_attention_in_fp8_says_what_it_needs() -> None:
    with pytest.raises(Unsupported, match="compute capability"):
        Fp8Attention(16, 2, 32, DEVICE)


def test_attention_in_fp8_takes_weights_loaded_in_fp8() -> None:
    assert [weight_precision(one) for one in ("bf16", "fp8", "fp8-attention")] == [
        "bf16",
        "fp8",
        "fp8",
    ]


def test_the_largest_number_decides_an_fp8_scale() -> None:
    values = torch.tensor([[1.0, -896.0], [3.0, 2.0]])
    assert float(scale_of(values)) == 2.0
    assert float(scale_of(torch.zeros(2, 2))) > 0


@pytest.mark.gpu
@needs_gpu
def test_a_stream_shows_the_pictures_of_the_plain_modules(tmp_path: Path) -> None:
    model, character = small_model().to("cuda"), small_character(tmp_path)
    shape = stream_shape(model, character, PRESETS[0].window)
    videos = []
    for kind in ("torch-eager", "torch-fused"):
        engines = open_engines(EngineChoice(kind), model, shape)
        stream = StreamingGenerator(model, character, PRESETS[0], engines=engines)
        stream.push("ana", babble(1.0))
        videos.append(pixels(run(stream)).astype(int))
    assert abs(videos[0] - videos[1]).max() <= 2  # of 255


@pytest.mark.gpu
@needs_gpu
def test_a_replay_equals_the_captured_denoiser(given: tuple[DiT, Call, float]) -> None:
    dit, call, _ = given
    denoiser = TritonDenoiser(dit)
    expected = denoiser.denoise(call.x, call.step, call.window)
    graphed = GraphedDenoiser(denoiser)
    for _ in range(2):
        assert torch.equal(graphed.denoise(call.x, call.step, call.window), expected)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("tokens", [333, 2048])
def test_attention_in_fp8_is_attention(tokens: int) -> None:
    pytest.importorskip("cudnn", reason="pip install 'avatar-server[gpu]'")
    torch.manual_seed(0)
    qkv = torch.randn(3, tokens, 4, 128, device=DEVICE)
    scales = torch.stack([scale_of(part) for part in qkv])
    stored = (qkv / scales[:, None, None, None]).to(torch.float8_e4m3fn)
    found = dequantized(Fp8Attention(tokens, 4, 128, DEVICE)(stored, scales))
    q, k, v = (part.transpose(0, 1)[None].double() for part in qkv)
    weights = (q @ k.transpose(-1, -2) * 128**-0.5).softmax(-1)
    expected = (weights @ v)[0].transpose(0, 1).flatten(1)
    assert relative(found, expected) < 8e-2


@pytest.mark.gpu
@needs_gpu
def test_a_model_in_fp8_may_attend_in_fp8() -> None:
    pytest.importorskip("cudnn", reason="pip install 'avatar-server[gpu]'")
    torch.manual_seed(0)
    dit = random_dit(SIZES["tiny"], DEVICE, "fp8")
    call = random_call(dit, SIZE, DEVICE, "fp8")
    plain = TritonDenoiser(dit).denoise(call.x, call.step, call.window)
    found = TritonDenoiser(dit, attends_in_fp8=True).denoise(call.x, call.step, call.window)
    assert 0 < relative(found, plain) < 0.15
