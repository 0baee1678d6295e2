"""Maps the layer names of LoRA files to our linear layers.

Three naming schemes are in use; the names themselves show which one it is:

    kohya       lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight, .lora_up.weight, .alpha
    PEFT        base_model.model.double_blocks.0.img_attn_qkv.lora_A.weight, .lora_B.weight
    diffusers   transformer.transformer_blocks.0.attn.to_q.lora_A.weight, .lora_B.weight

In diffusers' HunyuanVideo the queries, keys, values and (in single blocks) the MLP are separate
layers; here they are rows of one. Source: its HunyuanVideoTransformer3DModel.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Half = Literal["down", "up", "alpha"]

PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.")
KOHYA_PREFIX = "lora_unet_"
ENDINGS: dict[str, Half] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".alpha": "alpha",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """Rows of a linear layer, as multiples of the model's hidden_size; stop None: to the end."""

    module: str
    start: int = 0
    stop: int | None = None


ATTENTION = {"attn.to_q": (0, 1), "attn.to_k": (1, 2), "attn.to_v": (2, 3)}
TEXT_ATTENTION = {"attn.add_q_proj": (0, 1), "attn.add_k_proj": (1, 2), "attn.add_v_proj": (2, 3)}


def _rows(module: str, parts: dict[str, tuple[int, int]]) -> dict[str, Layer]:
    return {name: Layer(module, *rows) for name, rows in parts.items()}


# diffusers' name of the blocks -> our name, and the layers inside.
DIFFUSERS_BLOCKS: dict[str, tuple[str, dict[str, Layer]]] = {
    "transformer_blocks": (
        "double_blocks",
        {
            **_rows("img_attn_qkv", ATTENTION),
            **_rows("txt_attn_qkv", TEXT_ATTENTION),
            "attn.to_out.0": Layer("img_attn_proj"),
            "attn.to_add_out": Layer("txt_attn_proj"),
            "norm1.linear": Layer("img_mod.linear"),
            "norm1_context.linear": Layer("txt_mod.linear"),
            "ff.net.0.proj": Layer("img_mlp.fc1"),
            "ff.net.2": Layer("img_mlp.fc2"),
            "ff_context.net.0.proj": Layer("txt_mlp.fc1"),
            "ff_context.net.2": Layer("txt_mlp.fc2"),
        },
    ),
    "single_transformer_blocks": (
        "single_blocks",
        {
            **_rows("linear1", ATTENTION),
            "proj_mlp": Layer("linear1", 3),
            "proj_out": Layer("linear2"),
            "norm.linear": Layer("modulation.linear"),
        },
    ),
    "context_embedder.token_refiner.refiner_blocks": (
        "txt_in.individual_token_refiner.blocks",
        {
            **_rows("self_attn_qkv", ATTENTION),
            "attn.to_out.0": Layer("self_attn_proj"),
            "ff.net.0.proj": Layer("mlp.fc1"),
            "ff.net.2": Layer("mlp.fc2"),
            "norm_out.linear": Layer("adaLN_modulation.1"),
        },
    ),
}
DIFFUSERS_OTHERS = {
    "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "time_in.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "time_in.mlp.2",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "context_embedder.proj_in": "txt_in.input_embedder",
    "context_embedder.time_text_embed.timestep_embedder.linear_1": "txt_in.t_embedder.mlp.0",
    "context_embedder.time_text_embed.timestep_embedder.linear_2": "txt_in.t_embedder.mlp.2",
    "context_embedder.time_text_embed.text_embedder.linear_1": "txt_in.c_embedder.linear_1",
    "context_embedder.time_text_embed.text_embedder.linear_2": "txt_in.c_embedder.linear_2",
}


def split_ending(key: str) -> tuple[str, Half] | None:
    """A key's layer and the half of its update that it holds; None for an unknown ending."""
    for ending, half in ENDINGS.items():
        if key.endswith(ending):
            return key.removesuffix(ending), half
    return None


def find_layer(name: str, linears: Collection[str]) -> Layer | None:
    """The one of `linears`, our layers' names, that a name without its ending means, if any."""
    if name.startswith(KOHYA_PREFIX):
        wanted = name.removeprefix(KOHYA_PREFIX)
        found = [one for one in linears if one.replace(".", "_") == wanted]
        return Layer(found[0]) if found else None
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    layer = Layer(name) if name in linears else of_diffusers(name)
    return layer if layer is not None and layer.module in linears else None


def of_diffusers(name: str) -> Layer | None:
    """Our layer for diffusers' name; None if there is none."""
    if name in DIFFUSERS_OTHERS:
        return Layer(DIFFUSERS_OTHERS[name])
    block = re.fullmatch(r"(.+_blocks)\.(\d+)\.(.+)", name)
    if block is None or block[1] not in DIFFUSERS_BLOCKS:
        return None
    ours, layers = DIFFUSERS_BLOCKS[block[1]]
    inside = layers.get(block[3])
    if inside is None:
        return None
    return Layer(f"{ours}.{block[2]}.{inside.module}", inside.start, inside.stop)
