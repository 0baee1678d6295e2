"""Shared by all sub-commands: pairs, face boxes, own characters, errors in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from runtime.errors import AvatarError, BadInput
from runtime.values import Box


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
