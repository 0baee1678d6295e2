"""Engines in torch: the model's own modules, compiled or not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from runtime.engine.choice import ENGINES, open_engines
from runtime.engine.kinds import PRECISIONS, EngineChoice
from runtime.engine.torch_engine import (
    CompiledBlocks,
    CompiledDenoiser,
    NarrowDenoiser,
    default_engines,
)
from runtime.errors import Unsupported
from runtime.stream.generator import StreamingGenerator
from tests.support.engines.exported import SHAPE
from tests.support.models.small_dit import T, conditioning, noisy, random_dit
from tests.support.models.small_model import random_model
from tests.support.models.small_world import (
    PRESETS,
    babble,
    pixels,
    run,
    small_character,
    small_model,
)


def test_eager_runs_the_models_own_modules() -> None:
    model = small_model()
    assert open_engines(EngineChoice("torch-eager"), model, SHAPE).denoiser is model.dit


def test_every_kind_of_engine_can_be_opened() -> None:
    assert ENGINES.keys() == PRECISIONS.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_graphs_without_a_gpu_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"needs an NVIDIA GPU; the model is on cpu"):
        open_engines(EngineChoice("torch-graphed"), small_model(), SHAPE)


@pytest.mark.parametrize("kind", ["torch", "torch-compiled"])
def test_a_precision_that_was_not_loaded_is_refused(kind: str) -> None:
    with pytest.raises(Unsupported, match=rf"loaded in fp32, but {kind} was asked for bf16"):
        open_engines(EngineChoice(kind, "bf16"), small_model(), SHAPE)


@torch.inference_mode()
def test_a_narrow_denoiser_takes_and_gives_float32() -> None:
    dit, cond = random_dit(), conditioning()
    x, t = noisy()
    call = x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    expected = dit.denoise(*call)
    found = NarrowDenoiser(dit.to(torch.bfloat16), torch.bfloat16).denoise(*call)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 2e-2 * expected.norm()


@torch.inference_mode()
def test_a_large_denoiser_is_compiled_by_its_blocks() -> None:
    dit, cond = random_dit(), conditioning()
    x, t = noisy()
    call = x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    expected = dit.denoise(*call)
    found = CompiledBlocks(dit, backend="eager").denoise(*call)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_choice_of_attention_kernel_is_captured_in_one_graph() -> None:
    """As on a GPU, where the kernel is requested by name (runtime/models/dit/attention.py)."""
    q = torch.randn(1, 2, 4, 8)

    def attend(q: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
            return scaled_dot_product_attention(q, q, q)

    captured = torch.compile(attend, fullgraph=True, backend="eager")
    torch.testing.assert_close(captured(q), attend(q))


@torch.inference_mode()
def test_the_whole_denoiser_is_captured_in_one_graph() -> None:
    dit, cond = random_dit(), conditioning()
    x, t = noisy()
    call = x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    captured = CompiledDenoiser(dit, backend="eager")  # a compiler takes minutes on a CPU
    torch.testing.assert_close(captured.denoise(*call), dit.denoise(*call), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_stream_on_compiled_torch_shows_the_same_pictures_on_a_gpu(tmp_path: Path) -> None:
    model, character = random_model(0).to("cuda"), small_character(tmp_path)
    engines = open_engines(EngineChoice("torch-compiled"), model, SHAPE)
    videos = []
    for one in (engines, default_engines(model)):
        stream = StreamingGenerator(model, character, PRESETS[0], engines=one)
        stream.push("ana", babble(1.0))
        videos.append(pixels(run(stream)).astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 2  # of 255
