"""The files that anyone may read: the web page and its samples, and nothing else in their folders.

Commands that run inside these folders write there too (recordings, pictures of characters), so a
file is served only if it is listed.
"""

import json
import os
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

from server.config import ConfigError

PAGE_LIST = "files.json"
SAMPLE_LIST = "samples.json"


class ListedFiles(StaticFiles):
    """Serves the files of a folder whose names are listed; all others are not found."""

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        super().__init__(directory=folder, html=True)
        self._names = names

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of that path, if it is listed; "." is the folder, so its index.html."""
        name = os.path.normpath(path)
        return super().lookup_path(path) if name == "." or name in self._names else ("", None)


def page_files(folder: Path) -> StaticFiles:
    """The web page in `folder`: the names in its files.json, or all of it if it has none."""
    if not (folder / PAGE_LIST).is_file():
        return StaticFiles(directory=folder, html=True)
    return ListedFiles(folder, frozenset(_texts(_read(folder / PAGE_LIST))))


def sample_files(folder: Path) -> ListedFiles:
    """The samples in `folder`: samples.json and the files that it names."""
    listed = _texts(_read(folder / SAMPLE_LIST)) if (folder / SAMPLE_LIST).is_file() else []
    return ListedFiles(folder, frozenset({SAMPLE_LIST, *listed}))


def _read(file: Path) -> Any:
    """A list of files as JSON; raises ConfigError, as the server does not start without it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise ConfigError(f"{file} cannot be read as JSON ({reason}). Mend it.") from None
    if not isinstance(found, list | dict):
        raise ConfigError(f"{file} is {found!r}, but must be a list or an object of file names.")
    return found


def _texts(value: Any) -> list[str]:
    """Every text in a JSON value, keys aside."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | dict):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [text for each in inner for text in _texts(each)]
