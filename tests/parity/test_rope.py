"""Positions and rotations equal the release's. Tolerances: README of the golden data."""

import pytest
import torch

from runtime.models.dit.rope import apply_rope, rope_freqs, rotations
from tests.support.released.golden import GOLDEN, GoldenCase, case_names

FREQS_ATOL = 5e-6
APPLY_ATOL = 1e-6


def test_there_is_golden_rope():
    assert case_names("rope", "rope_*"), f"no rope_*.safetensors in {GOLDEN}"
    assert case_names("rope", "apply_rope_*"), f"no apply_rope_*.safetensors in {GOLDEN}"


@pytest.mark.parametrize("name", case_names("rope", "rope_*"))
def test_positions_equal_the_releases(name):
    case = GoldenCase.load("rope", name)
    facts = case.facts
    cos, sin = rope_freqs(
        facts["latent_T"],
        facts["latent_H"] // 2,
        facts["latent_W"] // 2,
        tuple(facts["rope_dim_list"]),
        facts["theta"],
    )
    torch.testing.assert_close(cos, case.tensors["freqs_cos"], atol=FREQS_ATOL, rtol=0.0)
    torch.testing.assert_close(sin, case.tensors["freqs_sin"], atol=FREQS_ATOL, rtol=0.0)


@pytest.mark.parametrize("name", case_names("rope", "apply_rope_*"))
@pytest.mark.parametrize("which", ["q", "k"])
def test_rotation_equals_the_releases(name, which):
    tensors = GoldenCase.load("rope", name).tensors
    rotation = rotations(tensors["freqs_cos"], tensors["freqs_sin"])[:, None]
    rotated = apply_rope(tensors[which], rotation)
    torch.testing.assert_close(rotated, tensors[f"{which}_out"], atol=APPLY_ATOL, rtol=0.0)
