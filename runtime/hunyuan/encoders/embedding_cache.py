"""What the encoders made, kept on disk by the content that it was made from.

    <kind>-<sha256 of what went in>.safetensors

An entry is written aside and renamed, so it is whole or absent, and carries a digest of its values:
one that was damaged later is noticed, said in the log and computed again.
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
        """The entry made from `content`, or what `make` gives, which is then kept.

        `content` is all that decides the result. Tensors are on the CPU. A folder that cannot be
        written to is said in the log; the result is returned all the same.
        """
        file = self._folder / f"{kind}-{content_hash(content)}.safetensors"
        if file.is_file():
            try:
                return _read(file)
            except (SafetensorError, OSError, ValueError) as error:
                log.warning("%s is damaged (%s): computing it again", file, error)
        tensors = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
        try:
            _write(file, tensors)
        except OSError as error:
            log.warning("%s cannot be kept (%s): it will be computed again", file, error)
        return tensors


def content_hash(content: Sequence[str | bytes]) -> str:
    """SHA-256 of the parts in order; where one ends and the next begins counts."""
    hashed = hashlib.sha256()
    for part in content:
        data = part.encode() if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.hexdigest()


def folder_identity(folder: Path) -> str:
    """SHA-256 that tells the weights in a folder from others: of file names, sizes and samples.

    Small files count whole; of large ones 16 pieces of 64 KiB do, so that 16 GB take no minutes.
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
    """The tensors; ValueError unless their digest is the one written with them."""
    with safe_open(file, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        written = (stored.metadata() or {}).get(DIGEST)
    if written != _digest(tensors):
        raise ValueError("its digest is another one")
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
