"""The characters of several folders, each read once and again only if it changed."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.character.character import CARD, Character
from runtime.errors import AvatarError

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """A folder as it was read last; `character` is None if it could not be read."""

    stamp: Stamp
    character: Character | None


class CharacterRegistry:
    """Characters by id, in the order of `roots`; of two with one id the earlier root wins.

    Added, changed and deleted folders are noticed at the next look. A folder that cannot be read is
    left out, and the log names the fault once.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    async def current(self) -> Mapping[str, Character]:
        """As `read`, on another thread: for the event loop."""
        return await asyncio.to_thread(self.read)

    def read(self) -> Mapping[str, Character]:
        """All characters there are now. Touches the disk."""
        with self._lock:
            folders = [
                card.parent for root in self.roots for card in sorted(root.glob(f"*/{CARD}"))
            ]
            self._known = {folder: self._look_at(folder) for folder in folders}
            found: dict[str, Character] = {}
            for folder, known in self._known.items():
                if known.character is not None:
                    found.setdefault(folder.name, known.character)
            return found

    def _look_at(self, folder: Path) -> _Known:
        stamp, known = _stamp(folder), self._known.get(folder)
        if known is not None and known.stamp == stamp:
            return known
        try:
            return _Known(stamp, Character.load(folder))
        except AvatarError as error:
            logger.warning("the character in %s is left out: %s", folder, error)
            return _Known(stamp, None)


def _stamp(folder: Path) -> Stamp:
    """Names, modification times and sizes of a folder's files."""
    try:
        files = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    except FileNotFoundError:  # deleted meanwhile
        return ()
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)
