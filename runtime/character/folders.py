"""Folders of characters on the disk: they appear whole, are gone at once, and never half of either.

A new folder is written aside, under a hidden name beside its place, and renamed into it. A deleted
one is renamed to a hidden name first. What a killed process left under such names is nobody's
character, and is removed later.
"""

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.character.character import CARD
from runtime.errors import NotFound, NotWritten, Taken

FolderStamp = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size of each file in a folder, sorted."""

NEW, GONE = ".new-", ".gone-"
LEFT_BEHIND_S = 600  # after this long nobody works on a hidden folder any more
EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def character_folders(roots: Iterable[Path]) -> dict[str, Path]:
    """The character folders in `roots`, by name, in order; an earlier root wins.

    Hidden folders are none. A root that is missing or cannot be read has none.
    """
    folders: dict[str, Path] = {}
    for root in roots:
        for name in _visible(root):
            if os.path.lexists(root / name / CARD):
                folders.setdefault(name, root / name)
    return folders


def folder_stamp(folder: Path) -> FolderStamp:
    """Changes if a file of the folder is added, removed, renamed or written; reads no file.

    Empty if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            files = [(entry.name, entry.stat()) for entry in entries]
    except OSError:  # the folder or a file is gone, or may not be read
        return ()
    return tuple(sorted((name, found.st_mtime_ns, found.st_size) for name, found in files))


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` at the end of the block.

    Nothing is left if the block raises. Taken if `folder` exists, before or meanwhile; NotWritten
    if the disk is full or may not be written.
    """
    if os.path.lexists(folder):
        raise _taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_left_behind(folder.parent)
        aside = folder.parent / f"{NEW}{secrets.token_hex(8)}"
        aside.mkdir()
        try:
            yield aside
            aside.rename(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    except OSError as error:
        if error.errno in EXISTS and os.path.lexists(folder):
            raise _taken(folder) from None
        raise NotWritten(f"The character {folder.name}", folder.parent, error) from error


def write_file(path: Path, content: bytes) -> None:
    """Writes a new file; it has reached the disk when this returns."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def delete_folder(folder: Path) -> None:
    """Takes a character's folder away at once; NotFound if it is gone already."""
    gone = folder.parent / f"{GONE}{secrets.token_hex(8)}"
    try:
        folder.rename(gone)
    except FileNotFoundError:
        raise NotFound(
            f"There is no character {folder.name!r} any more.", param="character"
        ) from None
    except OSError as error:
        raise NotWritten(f"The character {folder.name}", folder.parent, error) from error
    if gone.is_symlink():
        gone.unlink()
    shutil.rmtree(gone, ignore_errors=True)  # what cannot be removed now is removed later
    remove_left_behind(folder.parent)


def remove_left_behind(root: Path) -> None:
    """Removes hidden folders that a process left when it was killed."""
    for path in root.iterdir():
        if path.name.startswith((NEW, GONE)) and _age_s(path) > LEFT_BEHIND_S:
            shutil.rmtree(path, ignore_errors=True)


def _visible(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # somebody else removed it
        return 0.0


def _taken(folder: Path) -> Taken:
    return Taken(
        f"The character {folder.name} exists. Choose another id, or delete it first.", param="id"
    )
