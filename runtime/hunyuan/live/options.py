"""How a released folder is loaded for streaming."""

from dataclasses import dataclass
from pathlib import Path

from runtime.character.character import Character


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Precision and files of a released model that streams.

    `decoder` None: `taehv.pth` in the released folder. `blocks_on_device` False: exported engines
    run the blocks, and the weights of the blocks stay in host memory.
    """

    precision: str = "fp32"  # fp32, bf16 or fp8
    decoder: Path | None = None
    embeddings: Path | None = None  # a folder that caches the text encoders' results
    blocks_on_device: bool = True
    characters: tuple[Character, ...] = ()  # LLaVA reads them before the transformer is loaded


DEFAULT_OPTIONS = LiveOptions()
