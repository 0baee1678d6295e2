"""The characters of several folders, each read once and again only if it changed."""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runtime.character.character import CARD, Character
from runtime.character.folders import FolderStamp, character_folders, folder_stamp
from runtime.errors import AvatarError, BadInput

logger = logging.getLogger(__name__)

FRESH_S = 1.0  # how long `current` trusts a look at the disk
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
        self._last: Mapping[str, Character] = {}
        self._looked_at: float | None = None
        self._look: asyncio.Future[Mapping[str, Character]] | None = None
        # Of its own: the default one encodes everybody's video.
        self._reader = ThreadPoolExecutor(1, "characters")

    async def current(self) -> Mapping[str, Character]:
        """As `read`, on another thread: for the event loop.

        However many ask, the disk is looked at once every FRESH_S. `forget` makes the next call
        look.
        """
        if self._looked_at is not None and time.monotonic() - self._looked_at < FRESH_S:
            return self._last
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.run_in_executor(self._reader, self.read)
            self._look.add_done_callback(self._looked)
        return await asyncio.shield(self._look)

    def forget(self) -> None:
        """Something was added or deleted: the next `current` looks at the disk."""
        self._looked_at = self._look = None

    def read(self) -> Mapping[str, Character]:
        """All characters there are now; the same object while nothing changes. Reads the disk."""
        with self._lock:
            folders = character_folders(self.roots)
            before = self._known
            self._known = {name: self._look_at(name, folder) for name, folder in folders.items()}
            if before != self._known or list(before) != list(self._known) or not before:
                known = self._known.items()
                readable = {name: each.character for name, each in known if each.character}
                self._last = MappingProxyType(readable)
            return self._last

    def _looked(self, look: asyncio.Future[Mapping[str, Character]]) -> None:
        if self._look is look:
            self._look = None
            if not look.cancelled() and look.exception() is None:
                self._looked_at = time.monotonic()

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
            if folder.is_dir():  # else it was deleted this moment
                logger.warning("the character in %s is left out: %s", folder, error)
            return _Known(folder, stamp, None, str(error))
