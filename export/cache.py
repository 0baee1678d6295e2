"""A folder of built engines, each under the hash of everything that it was built from.

If two processes need the same engine, the second waits for the first one's lock, which the system
releases if that process dies. An engine is built in a temporary folder and renamed, so it appears
complete or not at all. The next build removes the remains of a killed one.
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
    """Engines under `root`; the first build makes the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def engine(self, built: EngineKey, build: Build) -> tuple[Path, EngineDescription]:
        """The engine's folder and description; builds the engine if it is missing or damaged."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self.root / built.folder
        with self._locked(built):
            if (found := _intact(folder)) is not None:
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
                f"{built.part} did not fit. Nothing half-written is left; make room, or choose "
                "another folder with --out."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return description

    def _remove_remains(self, built: EngineKey) -> None:
        """Deletes the remains of a killed build, or a damaged engine."""
        for folder in (self.root / f".building-{built.folder}", self.root / built.folder):
            if folder.exists():
                shutil.rmtree(folder)

    @contextmanager
    def _locked(self, built: EngineKey) -> Iterator[None]:
        """Holds the engine's lock file, which is never deleted: a process that waits for a deleted
        file and one that makes a new file would both hold a lock.
        """
        with (self.root / f".{built.folder}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _intact(folder: Path) -> EngineDescription | None:
    """The description of an engine with unchanged files; None if it is missing or damaged."""
    if not folder.is_dir():
        return None
    try:
        description = EngineDescription.read(folder)
        description.check_files(folder)
    except EngineError:
        return None
    return description
