"""What an engine file was built for, written beside it, and the refusal where that does not fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import EngineError

EXPORTER = 1  # raised whenever exported graphs or their inputs change
DESCRIPTION = "engine.json"


@dataclass(frozen=True, slots=True)
class Built:
    """All that decides what an engine computes and where it runs; engines are found by it.

    `library` and `gpu` count for compiled engines only: an ONNX file runs anywhere ("any").
    """

    part: str  # "denoiser", "double_00", ..., "decoder", "audio_encoder"
    kind: str  # "onnx", "tensorrt" or "tensorrt-rtx"
    precision: str  # "fp32", "bf16", "fp16", "fp8" or "int8"
    shape: str  # `WindowShape` or the part's own, in words
    checkpoint: str  # `weights_hash` of what it was made from
    library: str = "any"
    gpu: str = "any"
    exporter: int = EXPORTER

    @property
    def key(self) -> str:
        """16 hexadecimal digits that differ wherever any field does."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """The name of the engine's folder in a folder of engines."""
        return f"{self.kind}-{self.precision}-{self.part}-{self.key}"

    def differences(self, wanted: Built) -> list[str]:
        """Both sides of every field that differs."""
        mine, others = asdict(self), asdict(wanted)
        return [
            f"{name} {mine[name]}, wanted is {others[name]}"
            for name in mine
            if mine[name] != others[name]
        ]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that goes into or comes out of an engine."""

    name: str
    dtype: str  # as torch names it, without "torch."
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """Lies as `engine.json` beside the engine's files."""

    built: Built
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: Mapping[str, str]  # file name to sha256
    error: float | None = None  # relative L2 against float64 torch, as measured after the build

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> EngineDescription:
        """The description in an engine's folder; EngineError where there is no whole one."""
        file = folder / DESCRIPTION
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                Built(**values["built"]),
                tuple(_spec(one) for one in values["inputs"]),
                tuple(_spec(one) for one in values["outputs"]),
                dict(values["files"]),
                values["error"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"{file} is no description of an engine ({error!r}). Delete {folder} and build the "
                "engine again with `avatar export`."
            ) from error

    def check_files(self, folder: Path) -> None:
        """Refuses an engine of which a file is missing, cut short or changed."""
        for name, expected in self.files.items():
            try:
                found = file_hash(folder / name)
            except OSError as error:
                raise EngineError(
                    f"{folder / name} cannot be read ({error.strerror}). Delete {folder} and build "
                    "the engine again with `avatar export`."
                ) from error
            if found != expected:
                raise EngineError(
                    f"{folder / name} has the hash {found[:12]}, its description says "
                    f"{expected[:12]}: it was cut short or changed. Delete {folder} and build the "
                    "engine again with `avatar export`."
                )


def find_engine(root: Path, wanted: Built) -> tuple[Path, EngineDescription]:
    """The engine's folder under `root` and its description, files checked.

    EngineError names what the nearest engine there was built for where none fits.
    """
    folder = root / wanted.folder
    if not folder.is_dir():
        raise EngineError(
            f"{root} has no {wanted.kind} engine of {wanted.part} in {wanted.precision} for "
            f"{wanted.shape}. {_nearest(root, wanted)}Build it: avatar export {wanted.kind} "
            f"--precision {wanted.precision}, with the same model, preset and speakers."
        )
    description = EngineDescription.read(folder)
    if differences := description.built.differences(wanted):
        raise EngineError(
            f"{folder} was built for another purpose: {'; '.join(differences)}. Delete it and "
            "build the engine again with `avatar export`."
        )
    description.check_files(folder)
    return folder, description


def _nearest(root: Path, wanted: Built) -> str:
    """Names how the engine of that part that differs least differs."""
    found = []
    for file in root.glob(f"*-{wanted.part}-*/{DESCRIPTION}"):
        built = EngineDescription.read(file.parent).built
        if built.part == wanted.part:
            found.append((built.differences(wanted), file.parent.name))
    if not found:
        return ""
    differences, name = min(found, key=lambda one: (len(one[0]), one[1]))
    return f"The nearest is {name}: built for {'; '.join(differences)}. "


def weights_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 of named tensors, whatever their order and wherever they are."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda one: one[0]):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def file_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _spec(values: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(values["name"], values["dtype"], tuple(values["shape"]))
