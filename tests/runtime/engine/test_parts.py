"""The denoiser cut into parts."""

from dataclasses import replace

import pytest
import torch

from runtime.engine.parts import DenoiserPart, in_blocks, named_values, whole
from runtime.errors import Unsupported
from runtime.models.dit.config import DiTConfig
from tests.support.models.small_dit import SMALL, T, conditioning, noisy, random_dit
from tests.support.models.small_model import SMALL_DIT

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
def test_each_input_from_a_part_is_an_output_of_an_earlier_part(
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
def test_parts_read_the_tensors_of_a_call(config: DiTConfig) -> None:
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
