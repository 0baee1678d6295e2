"""The parts of a denoiser that get an engine, and the hash of their weights."""

import torch

from runtime.engine.engine_keys import denoiser_parts, part_weights_hash
from runtime.engine.parts import in_blocks
from runtime.models.dit.config import RELEASED
from runtime.models.dit.dit import DiT
from tests.support.models.small_model import SMALL_DIT


def test_the_released_model_is_built_block_by_block() -> None:
    assert len(denoiser_parts(RELEASED)) == 1 + 20 + 40 + 1


def test_the_small_model_is_built_whole() -> None:
    assert [part.name for part in denoiser_parts(SMALL_DIT)] == ["denoiser"]


def test_only_weights_that_a_part_reads_decide_its_hash() -> None:
    dit = DiT(SMALL_DIT)
    first, second = in_blocks(SMALL_DIT)[1:3]
    before = part_weights_hash(dit, first), part_weights_hash(dit, second)
    with torch.no_grad():
        dit.double_blocks[1].img_mlp.fc1.weight[0, 0] += 1
    after = part_weights_hash(dit, first), part_weights_hash(dit, second)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
