"""torch-tensorrt: the program that it builds is the denoiser; without it the error says so."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from runtime.engine.choice import open_engines
from runtime.engine.gpu.cuda_graph import tensors_in, with_tensors
from runtime.engine.kinds import EngineChoice
from runtime.engine.trt.torch_tensorrt import TorchTensorRTDenoiser
from runtime.errors import EngineError, Unsupported
from runtime.models.dit.dit import DiT
from tests.support.engines.exported import SHAPE
from tests.support.models.small_dit import T, conditioning, noisy, random_dit
from tests.support.models.small_world import small_model

IS_HERE = importlib.util.find_spec("torch_tensorrt") is not None


def in_torch(program: ExportedProgram, tensors: list[Tensor]) -> Callable[..., Any]:
    """Runs the program from which torch-tensorrt would build."""
    return program.module()


@pytest.fixture
def dit() -> DiT:
    """One with the weights of a loaded model: without gradients."""
    return random_dit().requires_grad_(False)


@pytest.mark.parametrize("by_block", [False, True], ids=["whole", "by block"])
@torch.inference_mode()
def test_the_program_is_the_denoiser(dit: DiT, by_block: bool) -> None:
    cond = conditioning()
    x, t = noisy()
    call = x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    expected = dit.denoise(*call)
    built = TorchTensorRTDenoiser(dit, by_block, in_torch)
    for scale in (1.0, 0.5):  # the first call builds, the second runs what was built
        found = built.denoise(scale * x, *call[1:])
        if scale == 1.0:
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.equal(found, expected)


@torch.inference_mode()
def test_windows_of_another_shape_are_refused(dit: DiT) -> None:
    cond = conditioning()
    x, t = noisy()
    step, window = dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    built = TorchTensorRTDenoiser(dit, False, in_torch)
    built.denoise(x, step, window)
    with pytest.raises(EngineError, match="built for other shapes"):
        built.denoise(torch.cat([x, x]), step, window)


@pytest.mark.skipif(IS_HERE, reason="torch-tensorrt is here")
def test_if_it_is_not_installed_the_error_says_how_to_install_it() -> None:
    with pytest.raises(Unsupported, match=r"pip install 'avatar-server\[gpu\]'"):
        open_engines(EngineChoice("torch-tensorrt"), small_model(), SHAPE)


@pytest.mark.skipif(not IS_HERE, reason="needs torch-tensorrt")
def test_without_a_gpu_it_says_that_it_needs_one() -> None:
    with pytest.raises(Unsupported, match="--device cuda"):
        open_engines(EngineChoice("torch-tensorrt"), small_model(), SHAPE)


@pytest.mark.gpu
@pytest.mark.skipif(
    not (IS_HERE and torch.cuda.is_available()), reason="needs torch-tensorrt and an NVIDIA GPU"
)
@torch.inference_mode()
def test_its_engine_computes_the_same(dit: DiT) -> None:
    cond = conditioning()
    x, t = noisy()
    step, window = dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    expected = dit.denoise(x, step, window)
    there = with_tensors((x, step, window), (one.cuda() for one in tensors_in((x, step, window))))
    found = TorchTensorRTDenoiser(dit.cuda(), by_block=False).denoise(*there)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-3)
