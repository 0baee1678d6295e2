"""What lies at a path; no name, however odd, is an error."""

from pathlib import Path


def is_file(path: Path) -> bool:
    """Is there an ordinary file? False too for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Is there a folder? False too for a name that no folder can have."""
    try:
        return path.is_dir()
    except OSError:
        return False
