"""The description beside an engine file, and the search for an engine that fits."""

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
class EngineKey:
    """Everything that decides what an engine computes and where it runs.

    `library` and `gpu` matter for compiled engines only: an ONNX file runs anywhere ("any").
    """

    part: str  # "denoiser", "double_00", ..., "decoder", "audio_encoder"
    kind: str  # "onnx", "tensorrt" or "tensorrt-rtx"
    precision: str  # "fp32", "bf16", "fp16", "fp8" or "int8"
    shape: str  # `str(WindowShape)`, or the part's own shape in words
    checkpoint: str  # `weights_hash` of the weights in the engine
    library: str = "any"
    gpu: str = "any"
    exporter: int = EXPORTER

    @property
    def digest(self) -> str:
        """16 hexadecimal digits; they change if any field changes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """The name of the engine's folder below a folder of engines."""
        return f"{self.kind}-{self.precision}-{self.part}-{self.digest}"

    def differences(self, wanted: EngineKey) -> list[str]:
        """Every field that differs, with both values."""
        mine, others = asdict(self), asdict(wanted)
        return [
            f"{name} {mine[name]}, wanted is {others[name]}"
            for name in mine
            if mine[name] != others[name]
        ]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output tensor of an engine."""

    name: str
    dtype: str  # torch's name without "torch."
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """The content of `engine.json`, beside the engine's files."""

    built: EngineKey  # the name of the field is the name in the file
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: Mapping[str, str]  # sha256 by file name
    error: float | None = None  # relative L2 against float64 torch, measured after the build

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> EngineDescription:
        """The description in an engine's folder; EngineError if it is missing or incomplete."""
        file = folder / DESCRIPTION
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                EngineKey(**values["built"]),
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
        """Raise EngineError if a file of the engine is missing, truncated or changed."""
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
                    f"{folder / name} has the hash {found[:12]}, but its description says "
                    f"{expected[:12]}: it was cut short or changed. Delete {folder} and build the "
                    "engine again with `avatar export`."
                )


LocatedEngine = tuple[Path, EngineDescription]
"""The folder of an engine, and its description."""


def find_engine(root: Path, wanted: EngineKey) -> LocatedEngine:
    """The folder under `root` of the engine with this key, and its description; files are checked.

    Raises EngineError if no engine fits; the message says how the nearest one differs.
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
            f"{folder} was built for something else: {'; '.join(differences)}. Delete it and "
            "build the engine again with `avatar export`."
        )
    description.check_files(folder)
    return folder, description


def _nearest(root: Path, wanted: EngineKey) -> str:
    """A sentence on the engine of the same part with the fewest differences, or nothing."""
    found = []
    for file in root.glob(f"*-{wanted.part}-*/{DESCRIPTION}"):
        key = EngineDescription.read(file.parent).built
        if key.part == wanted.part:
            found.append((key.differences(wanted), file.parent.name))
    if not found:
        return ""
    differences, name = min(found, key=lambda one: (len(one[0]), one[1]))
    return f"The nearest is {name}: built for {'; '.join(differences)}. "


def weights_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 of named tensors; neither their order nor their device matters."""
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
