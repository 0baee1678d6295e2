"""Shared by all sub-commands: pairs, face boxes, own characters, errors in one line."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from PIL import Image

from runtime.errors import AvatarError, BadInput, NotWritten
from runtime.values import Box

PICTURE_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""What pictures are written as."""


def own_characters() -> Path:
    """The folder of characters that users add, whatever the working directory.

    `$XDG_DATA_HOME/avatar-server/characters`, by default in `~/.local/share`.
    """
    home = os.environ.get("XDG_DATA_HOME", "")
    data = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"
    return data / "avatar-server" / "characters"


def parse_pair(value: str) -> tuple[str, str]:
    """`name=file` as a pair; BadInput."""
    left, equals, right = value.partition("=")
    if not (left and equals and right):
        raise BadInput(f"{value!r} is no pair. Write name=file.")
    return left, right


def parse_face(value: str) -> tuple[str, Box]:
    """`[speaker=]x,y,width,height` as the speaker, or "", and the box; BadInput."""
    who, _, numbers = value.rpartition("=")
    try:
        x, y, width, height = (float(number) for number in numbers.split(","))
    except ValueError:
        raise BadInput(
            f"{value!r} is no face. Write x,y,width,height as fractions of the picture, "
            "such as 0.3,0.2,0.4,0.5, or ana=0.3,0.2,0.4,0.5.",
            param="box",
        ) from None
    return who, Box(x, y, width, height)


def check_characters(folder: Path) -> None:
    """BadInput if `folder` holds no characters: it is missing, is a file, or cannot be read.

    The folder of one's own characters may be missing, as none were added yet.
    """
    if folder.is_dir():
        if not os.access(folder, os.R_OK | os.X_OK):
            raise BadInput(f"The folder {folder} may not be read. Change its rights.")
    elif os.path.lexists(folder):
        raise BadInput(f"{folder} is no folder. Give a folder of characters with --characters.")
    elif folder != own_characters():
        raise BadInput(f"There is no folder {folder}. Make it, or give another with --characters.")


def check_picture_output(out: Path) -> None:
    """BadInput unless a picture can be written to `out`; nothing is written."""
    if out.suffix.lower() not in PICTURE_SUFFIXES:
        raise BadInput(
            f"{out} is no name of a picture. Use one that ends in {', '.join(PICTURE_SUFFIXES)}."
        )
    if out.is_dir():
        raise BadInput(f"{out} is a folder. Give the name of a file.")
    if not out.parent.is_dir():
        raise BadInput(f"There is no folder {out.parent}. Make it, or give another path.")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise BadInput(f"{out} may not be written. Give a path in a folder of yours.")


def save_picture(picture: Image.Image, out: Path) -> None:
    """Writes the picture, whole or not at all; NotWritten if the disk is full or read-only."""
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        try:
            picture.save(aside, format=PICTURE_SUFFIXES[out.suffix.lower()])
            aside.replace(out)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise NotWritten(f"The picture {out.name}", out.parent, error) from error


@contextmanager
def plain_errors() -> Iterator[None]:
    """Prints what the user can mend as one line, without a traceback, and exits with 1.

    That is an AvatarError, or an OSError of a file: no room, no right, a folder in its place.
    """
    try:
        yield
    except AvatarError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise
        typer.echo(f"{error.filename} cannot be used: {os.strerror(error.errno)}.", err=True)
        raise typer.Exit(1) from error
