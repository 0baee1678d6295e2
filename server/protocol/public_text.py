"""Error messages as strangers may read them: without the server's folders."""

import re

# An absolute path up to its last slash. Its folders may have spaces in their names, but no ". ",
# which ends a sentence. Routes (/v1/..) are no folders.
_FOLDERS = re.compile(r"""(?<![\w.:/<~-])~?/(?!v1/)(?:(?:(?![.:]\s)[^/\n'"()])+/)+""")


def without_folders(message: str) -> str:
    """`message` with only the last part of each absolute path in it."""
    return _FOLDERS.sub("", message)
