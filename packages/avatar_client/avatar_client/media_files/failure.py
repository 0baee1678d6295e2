"""The error of a file that cannot be read or written, and what the system calls its reason."""

import os


class MediaFileError(ValueError):
    """A file of sound or video cannot be read or written; the message names it."""


def reason_of(error: BaseException) -> str:
    """What went wrong, in the system's words: "No space left on device"."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and 0 < number < 1000:  # FFmpeg's own numbers are larger
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
