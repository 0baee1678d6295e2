"""Converts the released transformer to sharded safetensors, in bf16 or FP8.

Tensors keep their names; the scale of a float8 weight is stored with it as `<name>.weight_scale`.
`load_dit` and the hub's tools find the tensors by an index, which is written last: an interrupted
conversion leaves no index, so no partial model is ever loaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from runtime.errors import BadInput
from runtime.hunyuan.layout import Form, ReleasedLayout
from runtime.hunyuan.weights.loading import StoredDit, check_fit, empty_dit, open_dit, read_config
from runtime.media_files.outputs import write_text
from runtime.models.fp8.storage import FP8, SCALE_SUFFIX, block_linears, quantize
from runtime.weights.mapped_pages import release_pages

SHARD_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Conversion:
    """The written files: the index, its shards, and their bytes in all."""

    index: Path
    shards: tuple[Path, ...]
    bytes: int


def convert(
    folder: Path,
    to: Form = "bf16",
    out: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
    on_shard: Callable[[float], object] = lambda _: None,
) -> Conversion:
    """Writes the transformer of a released folder as safetensors into `out`, or the same folder.

    For FP8 it uses the released FP8 file if there is one; otherwise it quantises the bf16 weights
    as the release does. `on_shard` gets the share that is done. Memory holds one shard at a time.
    Raises CheckpointError if the source does not fit, BadInput if the disk is too small.
    """
    source = ReleasedLayout.find(folder)
    config = read_config(source)
    stored = open_source(source, to)
    check_fit(stored, empty_dit(config, stored.form))
    target = source if out is None else ReleasedLayout(out / "ckpts")
    target.dit.mkdir(parents=True, exist_ok=True)
    fp8_weights = {f"{name}.weight" for name in block_linears(empty_dit(config, "bf16"))}
    quantized = fp8_weights if to == "fp8" else set()
    shards = plan_shards(sizes(stored, quantized), shard_bytes)
    check_room(target.dit, sum(sizes(stored, quantized).values()))

    paths = shard_paths(target.shard_index(to), len(shards))
    places: dict[str, str] = {}
    total = 0
    for done, (path, names) in enumerate(zip(paths, shards, strict=True), start=1):
        tensors = dict(converted(stored, names, quantized))
        save_file(tensors, path.with_suffix(".partial"), metadata={"format": "pt"})
        path.with_suffix(".partial").rename(path)
        places |= dict.fromkeys(tensors, path.name)
        total += sum(tensor.nbytes for tensor in tensors.values())
        for name in names:
            release_pages(stored.tensors[name])
        on_shard(done / len(shards))
    write_text(target.dit_config, json.dumps(config.to_dict(), indent=2))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_text(target.shard_index(to), json.dumps(index, indent=2))
    return Conversion(target.shard_index(to), tuple(paths), total)


def open_source(layout: ReleasedLayout, to: Form) -> StoredDit:
    """The pickle to make the form from."""
    if to == "fp8" and not layout.pickle("fp8").is_file() and layout.pickle("bf16").is_file():
        return open_dit(layout, "bf16", converted=False)
    return open_dit(layout, to, converted=False)


def sizes(stored: StoredDit, quantized: set[str]) -> dict[str, int]:
    """Bytes of every tensor after the conversion."""
    return {
        name: tensor.numel() if name in quantized else tensor.nbytes
        for name, tensor in stored.tensors.items()
    }


def plan_shards(sizes: dict[str, int], shard_bytes: int) -> list[list[str]]:
    """The names in their order, cut into shards of at most `shard_bytes`, or of one tensor."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def shard_paths(index: Path, count: int) -> list[Path]:
    """`model-00001-of-00003.safetensors` and so on, beside `model.safetensors.index.json`."""
    stem = index.name.removesuffix(".safetensors.index.json")
    return [
        index.with_name(f"{stem}-{number:05}-of-{count:05}.safetensors")
        for number in range(1, count + 1)
    ]


def check_room(folder: Path, needed: int) -> None:
    """BadInput if the disk has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"{folder} has {free / 1e9:.1f} GB left; the conversion needs {needed / 1e9:.1f} GB. "
            "Make room, or name a folder on another disk."
        )


def converted(
    stored: StoredDit, names: list[str], quantized: set[str]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a shard, copied from the source file; those in `quantized` in float8."""
    for name in names:
        tensor = stored.tensors[name]
        if name not in quantized:
            yield name, tensor.clone()
        elif name in stored.scales:
            yield name, tensor.to(FP8, copy=True)
            yield name + SCALE_SUFFIX, stored.scales[name]
        else:
            weight, scale = quantize(tensor)
            yield name, weight
            yield name + SCALE_SUFFIX, scale
