"""The denoiser cut into parts."""

from dataclasses import replace

import pytest
import torch

from runtime.engine.engine_keys import denoiser_parts, part_weights_hash
from runtime.engine.parts import DenoiserPart, in_blocks, named_values, whole
from runtime.errors import Unsupported
from runtime.models.dit.config import RELEASED, DiTConfig
from runtime.models.dit.dit import DiT
from tests.support.small_dit import SMALL, T, conditioning, noisy, random_dit
from tests.support.small_model import SMALL_DIT

FOUR = replace(SMALL_DIT, double_blocks=4, single_blocks=3)
CUTS = {
    "whole": whole(FOUR),
    "block by block": in_blocks(FOUR),
    "two blocks a part": in_blocks(FOUR, 2),
    "more blocks a part than there are": in_blocks(FOUR, 9),
}
cuts = pytest.mark.parametrize("parts", CUTS.values(), ids=CUTS.keys())


@cuts
def test_every_block_runs_once_and_in_order(parts: tuple[DenoiserPart, ...]) -> None:
    assert [i for part in parts for i in part.double] == [0, 1, 2, 3]
    assert [i for part in parts for i in part.single] == [0, 1, 2]


@cuts
def test_what_flows_between_parts_comes_from_a_part_before(
    parts: tuple[DenoiserPart, ...],
) -> None:
    there = {"txt"}
    for part in parts:
        flowing = {"img", "txt", "hidden"} & set(part.inputs(FOUR))
        assert flowing <= there
        there |= {name.removesuffix("_out") for name in part.outputs(FOUR)}


@cuts
def test_the_last_part_gives_the_prediction(parts: tuple[DenoiserPart, ...]) -> None:
    assert parts[-1].outputs(FOUR) == ("prediction",)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, emotion=False)], ids=["ours", "released"])
def test_parts_read_what_a_call_gives(config: DiTConfig) -> None:
    dit, cond = random_dit(config), conditioning(config=config)
    if config.emotion:
        cond = replace(cond, emotion_latents=cond.ref_latents[:, None, :, 0])
    x, t = noisy()
    given = named_values(x, dit.prepare_step(t, cond), dit.prepare_window(cond, T))
    assert set(whole(config)[0].inputs(config)) == set(given)


def test_padding_of_the_text_is_refused() -> None:
    dit = random_dit()
    cond = replace(conditioning(), text_mask=torch.tensor([[1, 1, 0]]))
    x, t = noisy()
    with pytest.raises(Unsupported, match="padding"):
        named_values(x, dit.prepare_step(t, cond), dit.prepare_window(cond, T))


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
