"""Errors of the client.

AvatarClientError       anything below; `code` is the server's error code, or one of ours
`-- RecordingError      a recording could not be begun, or is broken
"""


class AvatarClientError(Exception):
    """The server refused a request, or the connection to it failed.

    `code` is the server's error code (`unknown_character`, `unauthorized`, ...) or "connection".
    """

    def __init__(self, message: str, code: str = "connection") -> None:
        super().__init__(message)
        self.code = code


class RecordingError(AvatarClientError):
    """A recording could not be begun, or is broken."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "recording")
