"""Loads the released video transformer from its folder, strictly, in bfloat16 or float8.

The file is mapped. Its tensors are converted and moved to the device one by one, and become the
weights of a model without memory. A tensor that needs no conversion stays in the mapped file: on a
CPU the file must not change while the model is in use. Pages of copied tensors are released, so
that host memory never holds a weight twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from runtime.errors import CheckpointError
from runtime.hunyuan.layout import FORMS, Form, ReleasedLayout
from runtime.hunyuan.tensor_file import map_pickle, map_shards, read_json
from runtime.hunyuan.weights.lora import Lora, Update, read_loras
from runtime.models.dit.config import RELEASED, DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.fp8.storage import FP8, SCALE_SUFFIX, dequantize, quantize, use_fp8
from runtime.weights.fit import misfits, not_finite, shown
from runtime.weights.mapped_pages import release_pages

WEIGHT_SCALE = f".weight{SCALE_SUFFIX}"


@dataclass(frozen=True, slots=True)
class StoredDit:
    """The transformer on disk: its tensors, and the scales of the float8 ones."""

    file: Path
    form: Form
    tensors: Mapping[str, Tensor]  # mapped
    scales: Mapping[str, Tensor]  # by the name of the weight; (1,) float32


def load_dit(
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    lora: Iterable[Lora] = (),
    form: Form = "bf16",
) -> DiT:
    """The transformer of a released folder, for inference.

    `form` "fp8" keeps the blocks' weights in float8 with their scales (`Fp8Linear`); all others are
    converted to `dtype`. CheckpointError names tensors that are missing, unexpected or of another
    shape, and says what to do.
    """
    layout = ReleasedLayout.find(folder)
    config = read_config(layout)
    model = empty_dit(config, form)
    stored = open_dit(layout, form)
    check_fit(stored, model)
    updates = read_loras(lora, model, config)
    tensors: dict[str, Tensor] = {}
    for name, value in stored.tensors.items():
        merged = updates.get(name.removesuffix(".weight"), []) if name.endswith(".weight") else []
        made = own(name, value, stored.scales, merged, dtype)
        tensors |= {key: tensor.to(device) for key, tensor in made.items()}
        if tensors[name].data_ptr() != value.data_ptr():
            release_pages(value)
    check_finite(tensors, stored.file)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def read_config(layout: ReleasedLayout) -> DiTConfig:
    """The transformer's sizes, from our config.json if there is one, else the 13 B release's."""
    if not layout.dit_config.is_file():
        return RELEASED
    return DiTConfig.from_dict(read_json(layout.dit_config))


def empty_dit(config: DiTConfig, form: Form) -> DiT:
    """The transformer on the meta device, without memory, to compare with or to fill."""
    with torch.device("meta"):
        model = DiT(config)
        if form == "fp8":
            use_fp8(model)
    return model


def open_dit(layout: ReleasedLayout, form: Form, *, converted: bool = True) -> StoredDit:
    """The tensors of a form: of converted shards if they exist and `converted`, else the pickle.

    CheckpointError if there is neither, or if the FP8 pickle lacks its map.
    """
    index = layout.shard_index(form)
    if converted and index.is_file():
        stored = map_shards(index)
        names = [name for name in stored if name.endswith(WEIGHT_SCALE)]
        scales = {name.removesuffix(SCALE_SUFFIX): stored.pop(name) for name in names}
        return StoredDit(index, form, stored, scales)
    pickle = layout.pickle(form)
    if not pickle.is_file():
        raise CheckpointError(no_file(layout, form))
    scales = read_scale_map(layout) if form == "fp8" else {}
    return StoredDit(pickle, form, map_pickle(pickle), scales)


def no_file(layout: ReleasedLayout, form: Form) -> str:
    """The message for a form that does not exist."""
    others = [other for other in FORMS if layout.has(other)]
    there = f"The {others[0]} form is there: use that one, or fetch" if others else "Fetch"
    return f"{layout.pickle(form)} is missing. {there} it: `avatar weights fetch --form {form}`."


def read_scale_map(layout: ReleasedLayout) -> dict[str, Tensor]:
    """The scales (1,) float32 of the FP8 weights, by the names of the weights."""
    if not layout.fp8_map.is_file():
        raise CheckpointError(
            f"{layout.pickle('fp8')} has no map: {layout.fp8_map.name} is missing beside it, which "
            "holds the scales of its weights. Fetch it: `avatar weights fetch --form fp8`."
        )
    return {
        f"{name}.weight": scale.float().reshape(-1)
        for name, scale in map_pickle(layout.fp8_map).items()
    }


def check_fit(stored: StoredDit, model: DiT) -> None:
    """Compares names, shapes, float8 weights and scales. CheckpointError if one does not fit."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    scales = {name: shape for name, shape in shapes.items() if name.endswith(WEIGHT_SCALE)}
    scaled = {name.removesuffix(SCALE_SUFFIX): shape for name, shape in scales.items()}
    expected = {name: shape for name, shape in shapes.items() if name not in scales}
    found = {name: value.shape for name, value in stored.tensors.items()}
    if problems := misfits(found, expected):
        raise CheckpointError(
            f"{stored.file} is not the released transformer: {'; '.join(problems)}. "
            "Fetch the file again, or describe another size in transformers/config.json."
        )
    found = {name: scale.shape for name, scale in stored.scales.items()}
    if problems := misfits(found, scaled):
        raise CheckpointError(
            f"The scales of {stored.file} do not fit its layers: {'; '.join(problems)}. "
            "Fetch the file and its map again; both must come from one release."
        )
    strays = [n for n, value in stored.tensors.items() if value.dtype == FP8 and n not in scaled]
    if strays:
        raise CheckpointError(
            f"{stored.file} should be bf16 but holds {len(strays)} float8 weights without scales "
            f"({shown(strays)}). If it is the FP8 file, name it ..._fp8.pt, put its map beside it "
            "and ask for the fp8 form."
        )


def check_finite(tensors: Mapping[str, Tensor], source: Path) -> None:
    """CheckpointError that names the tensors with NaN or infinite values, if there are any."""
    if broken := not_finite(tensors):
        raise CheckpointError(
            f"{source} has NaN or infinite values in {len(broken)} tensors: {shown(broken)}. "
            "The file is damaged: delete it and get it again with `avatar weights fetch`."
        )


def own(
    name: str,
    value: Tensor,
    scales: Mapping[str, Tensor],
    updates: Sequence[Update],
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """One tensor of the file as the model's, with its scale if it has one, and updates added."""
    if name not in scales:
        return {name: add(value, updates).to(dtype)}
    weight, scale = value.to(FP8), scales[name]
    if updates:
        weight, scale = quantize(add(dequantize(weight, scale, torch.float32), updates))
    return {name: weight, name + SCALE_SUFFIX: scale}


def add(weight: Tensor, updates: Sequence[Update]) -> Tensor:
    """A weight with its updates, in float32 if there are any."""
    if not updates:
        return weight
    weight = weight.to(torch.float32, copy=True)
    for update in updates:
        update.add_to(weight)
    return weight
