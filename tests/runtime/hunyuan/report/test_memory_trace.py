"""Traced memory is what an allocator would hold at the peak."""

import pytest
import torch
import torch.nn.functional as F

from runtime.hunyuan.report.memory_trace import traced_memory

MEGA = 2**20


def mega(count, dtype=torch.uint8):
    """A tensor of that many megabytes that takes none."""
    return torch.empty(count * MEGA // dtype.itemsize, dtype=dtype, device="meta")


def test_tensors_that_live_together_add_up():
    with traced_memory() as memory:
        kept = [mega(3), mega(4)]
    assert memory.peak_bytes == 7 * MEGA
    assert kept


def test_a_tensor_that_is_gone_counts_no_more():
    with traced_memory() as memory:
        x = mega(3)
        x = mega(4)
        del x
        mega(5)
    assert memory.peak_bytes == 7 * MEGA  # 3 and 4, until the name was given on


def test_views_take_nothing():
    with traced_memory() as memory:
        x = mega(3).view(3, -1)[1:].transpose(0, 1)
    assert memory.peak_bytes == 3 * MEGA
    assert x.shape == (MEGA, 2)


def test_results_in_place_take_nothing():
    with traced_memory() as memory:
        mega(4, torch.float32).mul_(2).add_(1)
    assert memory.peak_bytes == 4 * MEGA


def test_tensors_from_before_the_trace_are_not_counted():
    weight = torch.empty(1024, 1024, device="meta")
    with traced_memory([weight]) as memory:
        F.linear(torch.empty(1024, 1024, device="meta"), weight)
    assert memory.peak_bytes == 8 * MEGA  # input and output


def test_attention_takes_no_square_of_its_tokens():
    q = torch.empty(1, 1, 4096, 64, device="meta")
    with traced_memory([q]) as memory:
        F.scaled_dot_product_attention(q, q, q)
    assert memory.peak_bytes == MEGA


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_allocates_what_was_traced():
    layers = torch.nn.Sequential(
        torch.nn.Linear(1024, 4096), torch.nn.GELU(), torch.nn.Linear(4096, 1024)
    )
    with traced_memory(layers.to("meta").parameters()) as memory:
        layers(torch.empty(8192, 1024, device="meta"))
    on_gpu = layers.to_empty(device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.no_grad():
        on_gpu(torch.empty(8192, 1024, device="cuda"))
    measured = torch.cuda.max_memory_allocated() - before
    assert measured == pytest.approx(memory.peak_bytes, rel=0.15)
