"""Outputs checked before the work begins, and small files written whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

from avatar_client.media_files import output_name
from avatar_client.media_files.failure import MediaFileError, reason_of

from runtime.errors import BadInput


def check_video_output(out: Path, inputs: Iterable[Path] = ()) -> None:
    """BadInput unless `out` is a .mp4, .mov or .mkv that can be written and none of `inputs`."""
    try:
        output_name.check_video_output(out, inputs)
    except MediaFileError as error:
        raise BadInput(str(error), param="out") from error


def check_output(out: Path, inputs: Iterable[Path] = ()) -> None:
    """The same for a file of any ending."""
    try:
        output_name.check_output(out, inputs)
    except MediaFileError as error:
        raise BadInput(str(error), param="out") from error


def write_text(out: Path, text: str) -> None:
    """Writes a text file, which has its new content whole or its old one. BadInput."""
    aside = out.with_name(f"{out.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise BadInput(
            f"{out} cannot be written: {reason_of(error)}. Make room, or choose another place.",
            param="out",
        ) from error
