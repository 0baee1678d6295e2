"""The characters of several folders, each read once and again only if it changed."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.character.character import CARD, Character
from runtime.character.store import FolderStamp, character_folders, folder_stamp
from runtime.errors import AvatarError, BadInput

logger = logging.getLogger(__name__)

FAULTS = (AvatarError, OSError, ValueError, ArithmeticError, RecursionError, MemoryError)
"""What reading a folder may raise: its files may hold anything."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A folder as it was read last; without a `character`, `fault` says why it is left out."""

    folder: Path
    stamp: FolderStamp
    character: Character | None
    fault: str = ""


class CharacterRegistry:
    """Characters by id, in the order of `roots`; of two with one id the earlier root wins.

    Added, changed and deleted folders are noticed at the next look. A folder that cannot be read is
    left out, and the log names the fault once.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    async def current(self) -> Mapping[str, Character]:
        """As `read`, on another thread: for the event loop."""
        return await asyncio.to_thread(self.read)

    def read(self) -> Mapping[str, Character]:
        """All characters there are now. Touches the disk."""
        with self._lock:
            folders = character_folders(self.roots)
            self._known = {name: self._look_at(name, folder) for name, folder in folders.items()}
            known = self._known.items()
            return {name: each.character for name, each in known if each.character is not None}

    def fault_of(self, name: str) -> str | None:
        """Why the folder of that name is left out; None if it is not, or if there is none."""
        known = self._known.get(name)
        return known.fault if known is not None and known.character is None else None

    def _look_at(self, name: str, folder: Path) -> _Known:
        stamp, known = folder_stamp(folder), self._known.get(name)
        if known is not None and (known.folder, known.stamp) == (folder, stamp):
            return known
        try:
            if not (folder / CARD).is_file():  # a pipe or a device could be read for ever
                raise BadInput(f"{folder / CARD} is no file. Mend it, or delete the folder.")
            return _Known(folder, stamp, Character.load(folder))
        except FAULTS as error:
            logger.warning("the character in %s is left out: %s", folder, error)
            return _Known(folder, stamp, None, str(error))
