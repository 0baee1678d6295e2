"""Errors that a caller or the outside can cause.

AvatarError                 anything below; catch this at the edge of the program
|-- BadInput (ValueError)   a value that can never work: a box outside the image, odd bytes
|-- NotFound                a name that does not exist; the message lists those that do
|-- Taken                   a name that somebody else has
|-- NotWritten              a file that cannot be written: a full disk, a read-only folder
|-- CheckpointError         weights that do not fit the model; the message names the keys
|-- EngineError             an engine file that is missing, damaged or was built for something else
|-- RankLost                a process of a pipelined session ended or does not answer
`-- Unsupported             this model cannot do that (an emotion, without the emotion module)

A message has three parts: what happened, what is allowed, and what to do.
"""

import os
from collections.abc import Iterable
from pathlib import Path

MOST_NAMED = 60  # names in one message


class AvatarError(Exception):
    """Base of all errors here; `param` names the argument or field at fault, if one is."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class BadInput(AvatarError, ValueError):
    """A value that can never work."""


class NotFound(AvatarError):
    """A name that does not exist here."""

    @classmethod
    def among(
        cls, kind: str, name: str, existing: Iterable[str], *, param: str | None = None
    ) -> "NotFound":
        """`NotFound.among("character", "bob", ["mira"])` lists the existing names."""
        names = sorted(existing)
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        listed = (", ".join(names[:MOST_NAMED]) or "none") + more
        return cls(f"There is no {kind} {name[:80]!r}. Use one of these: {listed}.", param=param)


class Taken(AvatarError):
    """A name that something else has already."""


class NotWritten(AvatarError):
    """A file or folder that the system refuses to write.

    The message names the place, for the person at the machine; `what` and `why` do not, for others.
    """

    def __init__(self, what: str, place: Path, error: OSError) -> None:
        self.what = what
        self.why = os.strerror(error.errno) if error.errno else "unknown reason"
        super().__init__(
            f"{what} cannot be written in {place}: {self.why}. Free some space, or choose a folder "
            "that you may write to."
        )


class CheckpointError(AvatarError):
    """Weights or their description that do not fit the model."""


class EngineError(AvatarError):
    """An engine that is missing, damaged or does not fit; the message names both sides."""


class Unsupported(AvatarError):
    """This model or machine cannot do that."""


class RankLost(AvatarError):
    """One of the processes that run a pipelined session is gone; the session is over."""
