"""Results of the encoders, cached on disk by the hash of their input.

    <kind>-<sha256 of the input>.safetensors

An entry is written under a temporary name and renamed, so it is complete or absent. It carries a
digest of its values: a damaged entry is logged and computed again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

log = logging.getLogger(__name__)

Tensors = Mapping[str, Tensor]

DIGEST = "sha256"  # the metadata's field
_SAMPLES = 16  # pieces read of a large file, from its start to its end
_SAMPLE_BYTES = 65_536


class EmbeddingCache:
    """A folder of entries; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(
        self, kind: str, content: Sequence[str | bytes], make: Callable[[], Tensors]
    ) -> Tensors:
        """The entry for `content`; without one, the result of `make`, which is then cached.

        `content` is everything that decides the result. Tensors are on the CPU. If the folder
        cannot be written to, the log says so and the result is still returned.
        """
        file = self._folder / f"{kind}-{content_hash(content)}.safetensors"
        if file.is_file():
            try:
                return _read(file)
            except (SafetensorError, OSError, ValueError) as error:
                log.warning("%s is damaged (%s) and is computed again", file, error)
        tensors = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
        try:
            _write(file, tensors)
        except OSError as error:
            log.warning("%s cannot be written (%s): the result is not cached", file, error)
        return tensors


def content_hash(content: Sequence[str | bytes]) -> str:
    """SHA-256 of the parts in order; the boundaries between them count."""
    hashed = hashlib.sha256()
    for part in content:
        data = part.encode() if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def folder_identity(folder: Path) -> str:
    """SHA-256 that identifies the weights in a folder: of file names, sizes and content.

    Small files are read whole, of large ones 16 pieces of 64 KiB, so that 16 GB take no minutes.
    """
    parts: list[str | bytes] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        parts += [str(file.relative_to(folder)), str(size), _sampled(file, size)]
    return content_hash(parts)


def _sampled(file: Path, size: int) -> bytes:
    if size <= _SAMPLES * _SAMPLE_BYTES:
        return file.read_bytes()
    last = size - _SAMPLE_BYTES
    with file.open("rb") as opened:
        pieces = []
        for number in range(_SAMPLES):
            opened.seek(last * number // (_SAMPLES - 1))
            pieces.append(opened.read(_SAMPLE_BYTES))
    return b"".join(pieces)


def _read(file: Path) -> Tensors:
    """The tensors in a file. ValueError if their digest is not the one written with them."""
    with safe_open(file, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        written = (stored.metadata() or {}).get(DIGEST)
    if written != _digest(tensors):
        raise ValueError("its digest does not match")
    return tensors


def _write(file: Path, tensors: Tensors) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as aside:
        try:
            aside.write(save(dict(tensors), {DIGEST: _digest(tensors)}))
        except BaseException:
            Path(aside.name).unlink()
            raise
    Path(aside.name).replace(file)


def _digest(tensors: Tensors) -> str:
    parts: list[str | bytes] = []
    for name, tensor in sorted(tensors.items()):
        values = tensor.contiguous().flatten().view(uint8).numpy().tobytes()
        parts += [name, str(tensor.dtype), str(tuple(tensor.shape)), values]
    return content_hash(parts)
