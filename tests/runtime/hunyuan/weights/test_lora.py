"""A LoRA of any of the three namings adds the same to the same weights, or is refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import CheckpointError, Unsupported
from runtime.hunyuan.weights.loading import load_dit
from runtime.hunyuan.weights.lora import Lora
from runtime.models.fp8.storage import dequantize
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release

RANK, WIDTH = 4, TINY_SHALLOW.hidden_size
LAYER = "double_blocks.0.img_attn_qkv"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    return write_tiny_release(root, dit=TINY_SHALLOW, parts=("dit", "fp8"))


@pytest.fixture
def halves():
    """down (r, in) and up (out, r) of the queries, keys and values of a double block."""
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(RANK, WIDTH, generator=generator)
    return down, torch.randn(3 * WIDTH, RANK, generator=generator)


def change(release, lora, layer=LAYER, form="bf16"):
    """The difference that the LoRA makes to a layer's weight."""
    plain, merged = (
        load_dit(release, dtype=torch.float32, lora=given, form=form) for given in ((), lora)
    )
    return weight(merged, layer) - weight(plain, layer)


def weight(model, layer):
    linear = model.get_submodule(layer)
    if not hasattr(linear, "weight_scale"):
        return linear.weight
    return dequantize(linear.weight, linear.weight_scale, torch.float32)


def kohya(down, up):
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}


def peft(down, up):
    name = f"base_model.model.{LAYER}"
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


def diffusion_pipe(down, up):
    name = f"diffusion_model.{LAYER}"
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


def diffusers(down, up):
    tensors = {}
    for part, rows in zip("qkv", up.chunk(3), strict=True):
        name = f"transformer.transformer_blocks.0.attn.to_{part}"
        tensors |= {f"{name}.lora_A.weight": down.clone(), f"{name}.lora_B.weight": rows.clone()}
    return tensors


@pytest.mark.parametrize("naming", [kohya, peft, diffusion_pipe, diffusers])
def test_every_naming_adds_the_product_of_its_halves(release, tmp_path, halves, naming):
    save_file(naming(*halves), tmp_path / "x.safetensors")
    added = change(release, [Lora(tmp_path / "x.safetensors")])
    torch.testing.assert_close(added, halves[1] @ halves[0], rtol=1e-4, atol=1e-4)


def test_strength_scales_the_update(release, tmp_path, halves):
    save_file(peft(*halves), tmp_path / "x.safetensors")
    added = change(release, [Lora(tmp_path / "x.safetensors", strength=-0.5)])
    torch.testing.assert_close(added, -0.5 * halves[1] @ halves[0], rtol=1e-4, atol=1e-4)


def test_several_loras_add_up(release, tmp_path, halves):
    save_file(peft(*halves), tmp_path / "a.safetensors")
    save_file(kohya(*halves), tmp_path / "b.safetensors")
    added = change(release, [Lora(tmp_path / f"{name}.safetensors") for name in "ab"])
    torch.testing.assert_close(added, 2 * halves[1] @ halves[0], rtol=1e-4, atol=1e-4)


def test_kohyas_alpha_is_in_the_file(release, tmp_path, halves):
    alpha = {"lora_unet_double_blocks_0_img_attn_qkv.alpha": torch.tensor(1.0)}
    save_file(kohya(*halves) | alpha, tmp_path / "x.safetensors")
    added = change(release, [Lora(tmp_path / "x.safetensors")])
    torch.testing.assert_close(added, halves[1] @ halves[0] / RANK, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("by_root", "divisor"), [(False, RANK), (True, RANK**0.5)])
def test_pefts_alpha_is_beside_the_file(release, tmp_path, halves, by_root, divisor):
    save_file(peft(*halves), tmp_path / "adapter_model.safetensors")
    facts = {"r": RANK, "lora_alpha": 2, "use_rslora": by_root}
    (tmp_path / "adapter_config.json").write_text(json.dumps(facts))
    added = change(release, [Lora(tmp_path / "adapter_model.safetensors")])
    torch.testing.assert_close(added, 2 / divisor * halves[1] @ halves[0], rtol=1e-4, atol=1e-4)


def test_diffusers_alpha_is_in_the_metadata(release, tmp_path, halves):
    facts = {"transformer.r": RANK, "transformer.lora_alpha": 2}
    metadata = {"lora_adapter_metadata": json.dumps(facts)}
    save_file(diffusers(*halves), tmp_path / "x.safetensors", metadata=metadata)
    added = change(release, [Lora(tmp_path / "x.safetensors")])
    torch.testing.assert_close(added, 2 / RANK * halves[1] @ halves[0], rtol=1e-4, atol=1e-4)


def test_an_alpha_pattern_is_refused(release, tmp_path, halves):
    save_file(peft(*halves), tmp_path / "adapter_model.safetensors")
    facts = {"lora_alpha": 2, "alpha_pattern": {"img_attn_qkv": 8}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(facts))
    with pytest.raises(Unsupported, match="alpha_pattern"):
        load_dit(release, lora=[Lora(tmp_path / "adapter_model.safetensors")])


def test_diffusers_mlp_of_a_single_block_is_the_rows_behind_the_values(release, tmp_path, halves):
    down, up = halves[0], torch.randn(4 * WIDTH, RANK)
    name = "transformer.single_transformer_blocks.1.proj_mlp"
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    save_file(tensors, tmp_path / "x.safetensors")
    added = change(release, [Lora(tmp_path / "x.safetensors")], "single_blocks.1.linear1")
    assert not added[: 3 * WIDTH].any()
    torch.testing.assert_close(added[3 * WIDTH :], up @ down, rtol=1e-4, atol=1e-4)


def test_a_lora_is_merged_into_fp8_weights_with_a_new_scale(release, tmp_path, halves):
    save_file(peft(*halves), tmp_path / "x.safetensors")
    added = change(release, [Lora(tmp_path / "x.safetensors")], form="fp8")
    error = (added - halves[1] @ halves[0]).norm() / (halves[1] @ halves[0]).norm()
    assert error < 0.05  # 3 bits of mantissa


def refusal(release, file, tensors):
    save_file(tensors, file)
    with pytest.raises(CheckpointError) as caught:
        load_dit(release, lora=[Lora(file)])
    return str(caught.value)


def test_layers_that_the_model_lacks_are_named(release, tmp_path, halves):
    down, up = halves
    tensors = {
        "diffusion_model.blocks.0.cross_attn.q.lora_A.weight": down,
        "diffusion_model.blocks.0.cross_attn.q.lora_B.weight": up,
    }
    message = refusal(release, tmp_path / "x.safetensors", tensors)
    assert "diffusion_model.blocks.0.cross_attn.q" in message


def test_a_layer_of_another_width_is_named_with_both_shapes(release, tmp_path, halves):
    message = refusal(release, tmp_path / "x.safetensors", peft(halves[0], halves[1][:-1]))
    assert "(95, 4) @ (4, 32) instead of (96, 32)" in message


def test_half_a_layer_is_named(release, tmp_path, halves):
    tensors = {f"base_model.model.{LAYER}.lora_A.weight": halves[0]}
    assert f"base_model.model.{LAYER}" in refusal(release, tmp_path / "x.safetensors", tensors)


def test_another_kind_of_adapter_is_named(release, tmp_path, halves):
    tensors = {"lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a": halves[0]}
    assert "hada_w1_a" in refusal(release, tmp_path / "x.safetensors", tensors)
