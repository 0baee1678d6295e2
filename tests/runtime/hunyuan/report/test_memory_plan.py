"""The memory plan: what is on the GPU in every mode, and which mode fits."""

from dataclasses import replace

import pytest
import torch

from runtime.errors import BadInput
from runtime.hunyuan.report import memory_plan
from runtime.hunyuan.report.memory_plan import (
    ClipMemory,
    DitMemory,
    VaeMemory,
    Workload,
    denoising_bytes,
    first_that_fits,
    inputs,
    plan_memory,
)
from runtime.models.dit.config import RELEASED
from tests.support.released.released_folder import TINY_RELEASE

pytestmark = pytest.mark.slow

GIB = 2**30
SMALL = Workload(64, 64)


@pytest.fixture(scope="module")
def modes():
    """At full size."""
    return {mode.options: mode for mode in plan_memory(Workload())}


def stage(mode, name):
    (found,) = [one for one in mode.stages if one.name == name]
    return found


def test_the_released_weights_take_two_bytes_a_number():
    assert DitMemory.of(RELEASED, "bf16").all == 2 * 12_991_493_184


def test_fp8_halves_the_blocks_and_keeps_the_rest():
    # 12.36 of the 12.99 billion numbers are weights of the blocks' linears
    assert DitMemory.of(RELEASED, "fp8").all == pytest.approx(13.6e9, rel=0.02)


def test_taking_turns_leaves_little_on_the_gpu():
    weights = DitMemory.of(RELEASED, "bf16")
    assert weights.in_turns < 0.1 * weights.all
    assert weights.moving + weights.in_turns > weights.all


def test_bf16_is_preferred_if_it_fits(modes):
    assert first_that_fits(modes.values(), 80 * GIB).options == "--dtype bf16"


def test_fp8_comes_next(modes):
    assert first_that_fits(modes.values(), 40 * GIB).options == "--dtype fp8"


def test_24_gib_run_the_release_at_its_default_size_with_low_memory(modes):
    assert first_that_fits(modes.values(), 24 * GIB).options == "--dtype bf16 --low-memory"


def test_too_small_a_gpu_runs_nothing(modes):
    assert first_that_fits(modes.values(), 8 * GIB) is None


def test_low_memory_lists_what_is_in_host_memory(modes):
    assert "step cache" in stage(modes["--dtype bf16 --low-memory"], "sampling").on_host
    assert stage(modes["--dtype bf16"], "sampling").on_host == "nothing"


def test_both_guidance_halves_take_twice_the_activations():
    one, two = (denoising_bytes(TINY_RELEASE, SMALL, branches) for branches in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.05)


def test_activations_grow_with_the_picture():
    small, large = (denoising_bytes(TINY_RELEASE, Workload(side, 64), 1) for side in (64, 128))
    assert 1.3 * small < large < 2 * small  # the text's tokens stay


def test_a_longer_clip_needs_a_larger_step_cache_only():
    short, long = (
        ClipMemory.of(TINY_RELEASE, Workload(64, 64, frames), low_memory=False)
        for frames in (129, 400)
    )
    assert long.activations == short.activations
    assert long.cache > 2 * short.cache


def test_tiles_bound_the_autoencoders_memory():
    small, large = (VaeMemory.of(memory_plan.RELEASED_VAE, Workload(s, s)) for s in (256, 512))
    assert large.decoding < 1.1 * small.decoding


@pytest.mark.parametrize("wrong", [{"width": 700}, {"height": 0}, {"frames": 0}])
def test_an_impossible_workload_is_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Workload(**wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_shows_the_peak_that_was_planned():
    from runtime.models.dit.dit import DiT

    config, workload = replace(RELEASED, double_blocks=2, single_blocks=2), Workload(256, 256)
    with torch.device("cuda"):
        model = DiT(config).bfloat16().requires_grad_(False)
        latents, conditions = inputs(config, workload, 1)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            model(latents, torch.zeros(1), conditions)
    measured = torch.cuda.max_memory_allocated() - before
    assert measured == pytest.approx(denoising_bytes(config, workload, 1), rel=0.15)
