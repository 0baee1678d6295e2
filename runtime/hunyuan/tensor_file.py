"""Tensors in files, mapped into memory instead of read: PyTorch pickles and safetensors.

A mapped tensor costs nothing until it is used, and then only the pages of its file, which the
system may drop again. So memory never holds a model twice.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import CheckpointError

STATE_DICT_KEYS = ("module", "ema", "state_dict")  # under which a pickle may hold its tensors
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LENGTH_BYTES = 8  # of the header's length, at the start of a safetensors file


def damaged(file: Path, reason: object) -> CheckpointError:
    """The error for a file that is not complete."""
    return CheckpointError(
        f"{file} is truncated or damaged ({reason}). Delete it and get it again with "
        "`avatar weights fetch`."
    )


def first_sentence(error: Exception) -> str:
    """The first sentence of a library's message, which may have a stack trace after it."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


def map_pickle(file: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, at its top level or under one of STATE_DICT_KEYS.

    Other values are left out. Raises as `open_pickle`.
    """
    content = open_pickle(file)
    for key in STATE_DICT_KEYS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def open_pickle(file: Path) -> Mapping[str, Any]:
    """The content of a PyTorch file, tensors mapped. No code runs: it is opened `weights_only`.

    Raises CheckpointError if the file is missing, damaged, older than PyTorch 1.6, holds anything
    but tensors and numbers, or is no mapping.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing. Run `avatar weights fetch`.") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} holds more than tensors and is not opened: loading it could run any code. "
            "Delete it and get the released file with `avatar weights fetch`."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise damaged(file, first_sentence(error)) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__} instead of a dictionary of tensors. Get the "
            "released file with `avatar weights fetch`."
        )
    return content


def map_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. CheckpointError if the file is not complete."""
    header, start = read_header(file)
    header.pop("__metadata__", None)
    size = file.stat().st_size
    raw = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    try:
        ends = [start + entry["data_offsets"][1] for entry in header.values()]
        if max(ends, default=start) > size:
            raise damaged(file, f"{size} bytes, {max(ends)} promised")
        return {name: _view(raw, start, entry) for name, entry in header.items()}
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{file} has an entry that cannot be read ({error}). Known dtypes are "
            f"{', '.join(SAFETENSORS_DTYPES)}. Convert or fetch the file again."
        ) from error


def _view(raw: Tensor, start: int, entry: Mapping[str, Any]) -> Tensor:
    first, last = entry["data_offsets"]
    dtype = SAFETENSORS_DTYPES[entry["dtype"]]
    data = raw[start + first : start + last]
    if data.storage_offset() % dtype.itemsize:
        data = data.clone()  # a tensor must begin at a multiple of its item size
    return data.view(dtype).view(entry["shape"])


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The JSON at the start of a safetensors file, and the offset of the data after it."""
    try:
        with file.open("rb") as opened:
            length = struct.unpack("<Q", opened.read(LENGTH_BYTES))[0]
            if length > file.stat().st_size:
                raise damaged(file, "its header is longer than the file")
            header = json.loads(opened.read(length))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing. Fetch or convert the weights again.") from None
    except (struct.error, ValueError) as error:
        raise damaged(file, error) from error
    if not isinstance(header, dict):
        raise damaged(file, "its header is no JSON object")
    return header, LENGTH_BYTES + length


def map_shards(index: Path) -> dict[str, Tensor]:
    """The tensors of all safetensors files that an index names, each from the file it names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict):
        raise CheckpointError(f"{index} has no weight_map. Convert or fetch the weights again.")
    shards = {name: map_safetensors(index.parent / name) for name in sorted(set(places.values()))}
    lost = sorted(name for name, shard in places.items() if name not in shards[shard])
    if lost:
        raise CheckpointError(
            f"{index} promises {len(lost)} tensors that its files do not hold, such as {lost[0]}. "
            "Convert or fetch the weights again."
        )
    return {name: shards[shard][name] for name, shard in places.items()}


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file. CheckpointError if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing. Run `avatar weights fetch`.") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds no JSON object. Fetch it again.")
    return content
