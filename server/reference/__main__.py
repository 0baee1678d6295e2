"""`python -m server.reference`: write the generated documents and the client module.

With `--check` it writes nothing, names the files that are stale and exits with status 1.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from server.reference.asyncapi import asyncapi_document
from server.reference.client_module import client_module
from server.reference.configuration_page import configuration_page
from server.reference.json_schema import protocol_schema
from server.reference.protocol_page import protocol_page

ROOT = Path(__file__).parents[2]
FILES: dict[str, Callable[[], str]] = {
    "docs/protocol.md": protocol_page,
    "docs/protocol.schema.json": lambda: json.dumps(protocol_schema(), indent=2) + "\n",
    "docs/asyncapi.yaml": asyncapi_document,
    "docs/configuration.md": configuration_page,
    "packages/avatar_client/avatar_client/events.py": client_module,
}
"""Path from the repository's root to the function that makes the file's text."""


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write or check the files; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m server.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="name stale files, write nothing")
    if parser.parse_args(arguments).check:
        stale = stale_files(root)
        for path in stale:
            print(f"{path} is stale. Run: python -m server.reference", file=sys.stderr)
        return 1 if stale else 0
    for path, text in rendered().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return 0


def stale_files(root: Path) -> list[str]:
    """The generated files under `root` that differ from what the code says, by path."""
    return [path for path, text in rendered().items() if _read(root / path) != text]


def rendered() -> dict[str, str]:
    """The text of each generated file, by its path."""
    return {path: render() for path, render in FILES.items()}


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
