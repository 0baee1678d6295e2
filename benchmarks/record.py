"""One benchmark's result: the figures, and the command, machine and commit that they belong to.

Results lie in benchmarks/results, one JSON file a benchmark. `report.py` writes them into the
documentation and `compare.py` compares two folders of them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.media_files.outputs import write_text

RESULTS = Path(__file__).parent / "results"
console = Console()


@dataclass(frozen=True, slots=True)
class Result:
    """Figures by name (nested, with numbers, texts or None at the leaves), and their origin."""

    command: str  # that measures them again
    machine: str
    commit: str  # short hash; "git" in the file
    day: str  # ISO date in UTC
    values: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Result:
        """The result in a file. ValueError if the file is not one."""
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                found["command"], found["machine"], found["git"], found["day"], found["values"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{file} is not a result of `python -m benchmarks` ({error!r}). It needs command, "
                "machine, git, day and values. Measure it again."
            ) from error

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(self.to_dict(), indent=1) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        return {
            "command": self.command,
            "machine": self.machine,
            "git": self.commit,
            "day": self.day,
            "values": dict(self.values),
        }

    def figure(self, path: str) -> float | None:
        """The number at a path such as "cast, single/lag_frames"; None if it was not measured."""
        found: Any = self.values
        for key in path.split("/"):
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else float(found)


def keep(name: str, values: Mapping[str, Any], command: str | None = None) -> None:
    """Write a result down, and print it as a table and then as one line of JSON.

    `command` is the part after `python -m benchmarks`, if that is more than the name.
    """
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    day = datetime.now(UTC).date().isoformat()
    full_command = f"python -m benchmarks {command or name}"
    result = Result(full_command, machine(), git.stdout.strip(), day, values)
    table = Table("measured", "value", title=name, title_justify="left")
    for key, value in flatten(values).items():
        table.add_row(key, f"{value:.3g}" if isinstance(value, float) else str(value))
    console.print(table)
    result.write(RESULTS / f"{name}.json")
    print(json.dumps(result.to_dict()))


def flatten(values: Mapping[str, Any], prefix: str = "", separator: str = ": ") -> dict[str, Any]:
    """Nested values under joined keys, in their order."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}{separator}", separator)
        else:
            flat[prefix + key] = value
    return flat


def machine() -> str:
    """The processor, the number of cores, and the GPU if there is one."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    name = names[0].split(": ")[1] if names else platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"
