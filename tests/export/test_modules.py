"""Exported modules compute what the model computes, in torch and before any export."""

from dataclasses import replace

import pytest
import torch

from export.calibration import CalibrationCollector
from export.example_inputs import random_values, value_shape
from export.modules import denoiser_part
from export.quantize import products
from export.to_onnx import to_graph
from runtime.engine.parts import (
    DenoiserPart,
    WindowShape,
    as_next_inputs,
    in_blocks,
    named_values,
    whole,
)
from runtime.models.dit.config import DiTConfig
from tests.support.models.small_dit import SMALL, H, T, W, conditioning, noisy, random_dit

CUTS = {"whole": whole, "blocks": in_blocks, "pairs of blocks": lambda config: in_blocks(config, 2)}
SHAPE = WindowShape(latent_frames=T, speakers=2, rows=H, columns=W, text_tokens=3)
configs = pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, emotion=False, motion_cues=0),
        replace(SMALL, injection="token"),
        replace(SMALL, injection="channel"),
    ],
    ids=["ours", "released", "token", "channel"],
)


@configs
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@torch.inference_mode()
def test_the_parts_in_a_row_are_the_denoiser(config: DiTConfig, cut) -> None:
    dit, cond = random_dit(config), conditioning(2, config=config)
    if config.emotion:
        cond = replace(cond, emotion_latents=cond.ref_latents[:, None, :, 0].repeat(1, 2, 1, 1, 1))
    x, t = noisy()
    step, window = dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    values = named_values(x, step, window)
    for part in cut(config):
        exported = denoiser_part(dit, part, SHAPE)
        found = exported.module(*(values[name] for name in exported.inputs))
        values |= as_next_inputs(dict(zip(exported.outputs, found, strict=True)))
    expected = dit.denoise(x, step, window)
    torch.testing.assert_close(values["prediction"], expected, atol=1e-5, rtol=1e-4)


@configs
@torch.inference_mode()
def test_static_shapes_are_those_of_a_call(config: DiTConfig) -> None:
    dit, cond = random_dit(config), conditioning(2, config=config)
    if config.emotion:
        cond = replace(cond, emotion_latents=cond.ref_latents[:, None, :, 0].repeat(1, 2, 1, 1, 1))
    x, t = noisy()
    given = named_values(x, dit.prepare_step(t, cond), dit.prepare_window(cond, T))
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    assert shapes == {name: value_shape(name, config, SHAPE) for name in given}


@torch.inference_mode()
def test_a_part_is_calibrated_on_the_outputs_of_the_parts_before() -> None:
    dit, parts = random_dit(), in_blocks(SMALL)
    call = random_values(whole(SMALL)[0].inputs(SMALL), SMALL, SHAPE)
    collector = CalibrationCollector(dit, parts, SHAPE, lambda: [call])
    last: DenoiserPart = parts[-1]
    hidden = collector.at(last)[0]["hidden"]
    everything = denoiser_part(dit, replace(whole(SMALL)[0], epilogue=False), SHAPE)
    expected = everything.module(*(call[name] for name in everything.inputs))[0]
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_scales_of_one_window_fit_another() -> None:
    dit, part = random_dit(), in_blocks(SMALL)[-2]
    names = []
    for shape in (SHAPE, replace(SHAPE, rows=2 * H, text_tokens=5)):
        exported = denoiser_part(dit, part, shape)
        values = random_values(exported.inputs, SMALL, shape)
        names.append([one.activations for one in products(to_graph(exported, values, "bf16"), 1)])
    assert names[0] == names[1]
    assert len(names[0]) == 2
