"""Sound files of any format that FFmpeg reads, as one channel of float samples."""

from pathlib import Path

from avatar_client.media_files import sound_file
from avatar_client.media_files.failure import MediaFileError

from runtime.errors import BadInput
from runtime.values import Samples

LONGEST_S = 3600


def read_sound(file: Path, rate: int) -> Samples:
    """The first audio track of `file`: float32 (N,) in [-1, 1] at `rate` Hz, channels mixed.

    BadInput if the file is missing, damaged, empty, without audio, or longer than an hour.
    """
    return read_noted_sound(file, rate).samples


def read_noted_sound(file: Path, rate: int) -> sound_file.Sound:
    """The same with `notes`, sentences for the user on what is odd about the file."""
    try:
        return sound_file.read_sound(file, rate, LONGEST_S)
    except MediaFileError as error:
        raise BadInput(str(error), param="audio") from error
