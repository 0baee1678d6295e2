"""The full-size model has exactly the released tensors."""

import pytest
import torch
from torch import nn

from runtime.models.dit.config import RELEASED
from runtime.models.dit.dit import DiT
from tests.support.released.golden import manifest


@pytest.fixture(scope="module")
def released():
    with torch.device("meta"):
        return DiT(RELEASED)


def test_names_and_shapes_are_the_released_ones(released):
    ours = {name: list(tensor.shape) for name, tensor in released.state_dict().items()}
    assert ours == manifest("dit_hyvideo_t2")


def test_sizes_are_the_released_ones(released):
    info = manifest("dit_hyvideo_t2_info")
    assert len(released.state_dict()) == info["num_keys"]
    assert sum(p.numel() for p in released.parameters()) == info["total_parameters"]


def test_the_linears_stored_in_fp8_are_the_released_ones(released):
    linears = {
        name
        for name, module in released.named_modules()
        if isinstance(module, nn.Linear) and ("double_blocks" in name or "single_blocks" in name)
    }
    assert linears == set(manifest("dit_hyvideo_t2_info")["fp8_linear_modules"])
