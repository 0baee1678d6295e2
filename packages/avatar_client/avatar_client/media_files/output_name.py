"""Is the place of a video file one that can be written? Asked before any work is done."""

import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from avatar_client.media_files.failure import MediaFileError, reason_of
from avatar_client.media_files.paths import is_folder

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Endings of video files, and FFmpeg's names of their formats."""


def container_of(path: Path) -> str:
    """FFmpeg's name of the format that the ending of `path` asks for. MediaFileError."""
    found = CONTAINERS.get(path.suffix.lower())
    if found is None:
        *others, last = CONTAINERS
        what = f"ends with {path.suffix}" if path.suffix else "has no ending"
        raise MediaFileError(
            f"{path} {what}, and videos are written as {', '.join(others)} or {last}. "
            f"Name it {path.with_suffix('.mp4') if path.name else 'talk.mp4'}, for example."
        )
    return found


def check_video_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """MediaFileError unless `path` names a video that can be written and is none of `inputs`.

    An existing video may be written over. Nothing is left behind in the folder.
    """
    if not is_folder(path):
        container_of(path)
    check_output(path, inputs)


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """The same for a file of any ending."""
    try:
        _check_place(path)
    except OSError as error:
        raise MediaFileError(
            f"{path} cannot be written: {reason_of(error)}. Choose another place."
        ) from error
    for one in inputs:
        if _is_same(path, one):
            raise MediaFileError(
                f"{path} is also the input {one}, which would be lost. Choose another output."
            )


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise MediaFileError(f"There is no folder {path.parent}. Make it first, or choose another.")
    if path.is_dir():
        raise MediaFileError(f"{path} is a folder. Give the name of a file in it.")
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            return  # of a link to nowhere, the place where its file will be made
    if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
        raise MediaFileError(f"{path} is no ordinary file. Choose another name.")
    os.close(os.open(path, os.O_WRONLY))


def _is_same(output: Path, given: Path) -> bool:
    try:
        return output.samefile(given)
    except OSError:  # one of them does not exist
        return output.resolve() == given.resolve()
