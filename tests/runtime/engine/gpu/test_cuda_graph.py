"""Capturing a denoiser: the tensors of its inputs and, on a GPU, the replay."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from runtime.engine.gpu import cuda_graph
from runtime.engine.gpu.cuda_graph import GraphedDenoiser, tensors_in, with_tensors
from runtime.errors import BadInput, Unsupported
from runtime.models.dit.conditioning import Conditioning, StepInputs, WindowInputs
from runtime.models.dit.dit import DiT
from tests.support.models.small_dit import H, T, W, conditioning, random_dit

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def inputs(dit: DiT, cond: Conditioning) -> tuple[StepInputs, WindowInputs]:
    return dit.prepare_step(torch.tensor([500.0]).to(cond.audio), cond), dit.prepare_window(cond, T)


def test_inputs_put_together_again_give_the_same_result() -> None:
    dit = random_dit()
    x, given = torch.randn(1, 16, T, H, W), inputs(dit, conditioning())
    copies = [tensor.clone() for tensor in tensors_in((x, *given))]
    again = with_tensors((x, *given), iter(copies))
    assert list(map(id, tensors_in(again))) == list(map(id, copies))
    assert torch.equal(dit.denoise(*again), dit.denoise(x, *given))


def test_other_values_than_tensors_are_kept() -> None:
    _, window = inputs(random_dit(), conditioning())
    bare = replace(window, emotion=(), emotion_masks=None)
    again = with_tensors(bare, tensors_in(bare))
    assert again.emotion == ()
    assert again.emotion_masks is None


def test_without_a_gpu_capturing_is_refused() -> None:
    dit = random_dit()
    with pytest.raises(Unsupported, match="NVIDIA GPU"):
        GraphedDenoiser(dit).denoise(torch.randn(1, 16, T, H, W), *inputs(dit, conditioning()))


def test_all_latent_frames_are_captured_even_if_the_first_call_needs_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Presets that move 2 and 3 of 3 share an engine; the second one needs all 3."""
    monkeypatch.setattr(cuda_graph, "GraphedFunction", lambda work: work)
    dit = random_dit()
    x, (step, window) = torch.randn(1, 16, T, H, W), inputs(dit, conditioning())
    found = GraphedDenoiser(dit).denoise(x, step, replace(window, newest=1))
    assert found.shape == x.shape


@pytest.fixture
def on_gpu() -> tuple[DiT, Tensor, StepInputs, WindowInputs]:
    dit = random_dit().cuda()
    given = with_tensors(conditioning(), (t.cuda() for t in tensors_in(conditioning())))
    return dit, torch.randn(1, 16, T, H, W).cuda(), *inputs(dit, given)


@pytest.mark.gpu
@needs_gpu
def test_a_replay_equals_the_captured_denoiser(
    on_gpu: tuple[DiT, Tensor, StepInputs, WindowInputs],
) -> None:
    dit, x, step, window = on_gpu
    graphed = GraphedDenoiser(dit)
    for scale in (1.0, 0.5):
        expected = dit.denoise(scale * x, step, window)
        torch.testing.assert_close(graphed.denoise(scale * x, step, window), expected)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_replay_allocates_nothing_and_does_not_wait(
    on_gpu: tuple[DiT, Tensor, StepInputs, WindowInputs],
) -> None:
    dit, x, step, window = on_gpu
    graphed = GraphedDenoiser(dit)
    graphed.denoise(x, step, window)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    try:
        torch.cuda.set_sync_debug_mode("error")
        graphed.denoise(x, step, window)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@pytest.mark.gpu
@needs_gpu
def test_other_shapes_are_refused(on_gpu: tuple[DiT, Tensor, StepInputs, WindowInputs]) -> None:
    dit, x, step, window = on_gpu
    graphed = GraphedDenoiser(dit)
    graphed.denoise(x, step, window)
    with pytest.raises(BadInput, match="other shapes"):
        graphed.denoise(torch.cat([x, x]), step, window)
