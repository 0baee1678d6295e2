"""A folder of built engines, each under the hash of all that it was built from.

Two processes that want the same engine build it once: the second waits for the first one's lock,
which the system frees if that process dies. An engine appears under its name whole or not at all:
it is built in a folder beside and renamed. What a killed build left is removed by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.engine.description import EngineDescription, EngineKey
from runtime.errors import EngineError

Build = Callable[[Path], EngineDescription]
"""Writes an engine's files into an empty folder and describes them."""


class EngineCache:
    """Engines under `root`, which is made when the first one is built."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def engine(self, built: EngineKey, build: Build) -> tuple[Path, EngineDescription]:
        """The engine's folder and description, built now if it is not there whole."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self.root / built.folder
        with self._locked(built):
            if (found := _whole(folder)) is not None:
                return folder, found
            self._remove_remains(built)
            return folder, self._build(built, build)

    def _build(self, built: EngineKey, build: Build) -> EngineDescription:
        scratch = self.root / f".building-{built.folder}"
        scratch.mkdir()
        try:
            description = build(scratch)
            description.write(scratch)
            scratch.rename(self.root / built.folder)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            free = shutil.disk_usage(self.root).free / 1e6
            raise EngineError(
                f"The disk of {self.root} is full ({free:.0f} MB free) and the engine of "
                f"{built.part} did not fit. Nothing half-written is left; make room, or name "
                "another folder with --out."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return description

    def _remove_remains(self, built: EngineKey) -> None:
        """What is left of a killed build, or of an engine that was damaged."""
        for folder in (self.root / f".building-{built.folder}", self.root / built.folder):
            if folder.exists():
                shutil.rmtree(folder)

    @contextmanager
    def _locked(self, built: EngineKey) -> Iterator[None]:
        """Holds the engine's lock file; it stays, because removing one that others wait for
        would let two in.
        """
        with (self.root / f".{built.folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _whole(folder: Path) -> EngineDescription | None:
    """The description of an engine whose files are as they were written; None otherwise."""
    if not folder.is_dir():
        return None
    try:
        description = EngineDescription.read(folder)
        description.check_files(folder)
    except EngineError:
        return None
    return description
