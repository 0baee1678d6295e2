"""The released autoencoder's folder: config.json and pytorch_model.pt, read strictly.

The tensors have the names of diffusers' HunyuanVideo autoencoder. On reading, the entry
`state_dict` is unwrapped if there is one, and `vae.` is removed from every name. Writing needs no
change: the official loader also reads names without `vae.`.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from runtime.errors import CheckpointError
from runtime.hunyuan.tensor_file import first_sentence
from runtime.hunyuan.vae.tiling import AxisTiles, Tiles
from runtime.timing import FRAMES_PER_LATENT
from runtime.weights.fit import shown

CONFIG_FILE = "config.json"
TENSORS_FILE = "pytorch_model.pt"
SPATIAL_STRIDE = 8  # px per side of a latent
LEVELS = 4  # of resolution; between them width and height are halved three times
_AGAIN = "Download the folder vae of the release again: avatar weights fetch."


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """The numbers of config.json. Optional ones have the official class's defaults."""

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    latent_channels: int
    norm_num_groups: int
    sample_size: int  # px: side of a tile
    scaling_factor: float  # latents are multiplied by it for the transformer
    sample_tsize: int = 64  # frames of a tile
    mid_block_causal_attn: bool = False  # True: no frame attends to later ones of its tile
    mid_block_add_attention: bool = True

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The configuration in a folder. CheckpointError names the missing or invalid field."""
        file = folder / CONFIG_FILE
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(
                f"{file} is missing: it says how the autoencoder attends. {_AGAIN}"
            ) from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{file} is no JSON ({error}). {_AGAIN}") from error
        if not isinstance(values, dict):
            raise CheckpointError(f"{file} holds no JSON object. {_AGAIN}")
        try:
            return cls.from_dict(values)
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error} {_AGAIN}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration from config.json's object; unused fields are ignored."""
        fixed = {
            "time_compression_ratio": FRAMES_PER_LATENT,
            "spatial_compression_ratio": SPATIAL_STRIDE,
        }
        for name, only in fixed.items():
            if values.get(name, only) != only:
                raise CheckpointError(f"{name} is {values[name]!r}; only {only} is supported.")
        try:
            return cls(
                block_out_channels=tuple(values["block_out_channels"]),
                layers_per_block=values["layers_per_block"],
                latent_channels=values["latent_channels"],
                norm_num_groups=values["norm_num_groups"],
                sample_size=values["sample_size"],
                scaling_factor=values["scaling_factor"],
                sample_tsize=values.get("sample_tsize", 64),
                mid_block_causal_attn=values.get("mid_block_causal_attn", False),
                mid_block_add_attention=values.get("mid_block_add_attention", True),
            )
        except KeyError as error:
            raise CheckpointError(f"{error} is missing.") from None
        except TypeError:
            raise CheckpointError("block_out_channels is no list.") from None

    def __post_init__(self) -> None:
        wholes = {
            "layers_per_block": self.layers_per_block,
            "latent_channels": self.latent_channels,
            "norm_num_groups": self.norm_num_groups,
            "sample_size": self.sample_size,
            "sample_tsize": self.sample_tsize,
        }
        for name, value in wholes.items():
            if type(value) is not int or value < 1:
                raise CheckpointError(f"{name} is {value!r}; it must be a whole number from 1 on.")
        if not isinstance(self.scaling_factor, int | float) or self.scaling_factor <= 0:
            raise CheckpointError(
                f"scaling_factor is {self.scaling_factor!r}; it must be a number above 0."
            )
        self._check_widths()
        if min(self.sample_size // SPATIAL_STRIDE, self.sample_tsize // FRAMES_PER_LATENT) < 2:
            raise CheckpointError(
                f"Tiles of {self.sample_size} px and {self.sample_tsize} frames cannot overlap; "
                f"they need {2 * SPATIAL_STRIDE} px and {2 * FRAMES_PER_LATENT} frames at least."
            )

    def _check_widths(self) -> None:
        widths, groups = self.block_out_channels, self.norm_num_groups
        fit = all(type(width) is int and width > 0 and width % groups == 0 for width in widths)
        if len(widths) != LEVELS or not fit:
            raise CheckpointError(
                f"block_out_channels is {list(widths)}; it must be {LEVELS} multiples of "
                f"norm_num_groups, {groups}."
            )

    @property
    def encoding(self) -> Tiles:
        """Tiles of frames and px."""
        return Tiles(
            AxisTiles.of(self.sample_tsize, self.sample_tsize // FRAMES_PER_LATENT),
            AxisTiles.of(self.sample_size, self.sample_size // SPATIAL_STRIDE),
        )

    @property
    def decoding(self) -> Tiles:
        """Tiles of latent frames and latents."""
        return Tiles(
            AxisTiles.of(self.sample_tsize // FRAMES_PER_LATENT, self.sample_tsize),
            AxisTiles.of(self.sample_size // SPATIAL_STRIDE, self.sample_size),
        )


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of pytorch_model.pt by the library's names, mapped from the file if possible.

    Copy what you keep: a mapped tensor is valid only as long as its file. Raises CheckpointError if
    the file is missing, truncated, or holds anything but tensors.
    """
    file = folder / TENSORS_FILE
    if not file.is_file():
        raise CheckpointError(f"{file} is missing. {_AGAIN}")
    try:
        found = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is no file of tensors, or holds code ({str(error).splitlines()[0]}). {_AGAIN}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = first_sentence(error)
        raise CheckpointError(f"{file} is damaged or cut short ({reason}). {_AGAIN}") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise CheckpointError(f"{file} holds no state dict of tensors. {_AGAIN}")
    return {name.replace("vae.", ""): tensor for name, tensor in found.items()}


def check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path
) -> None:
    """Compares names and shapes, and checks that all values are finite.

    CheckpointError names the first few faults of each kind.
    """
    common = sorted(set(expected) & set(tensors))
    found = {
        "keys missing": sorted(set(expected) - set(tensors)),
        "keys unexpected": sorted(set(tensors) - set(expected)),
        "shapes different": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in common
            if tensors[name].shape != expected[name].shape
        ],
        "tensors not finite": [
            f"{name} in {tensors[name].dtype}"
            for name in common
            if not tensors[name].isfinite().all()
        ],
    }
    problems = [f"{len(names)} {kind}: {shown(names)}" for kind, names in found.items() if names]
    if problems:
        raise CheckpointError(
            f"{source / TENSORS_FILE} does not fit {CONFIG_FILE}. {'. '.join(problems)}. {_AGAIN}"
        )
