"""The `avatar` command. The module of a sub-command is imported only if that sub-command runs."""

import codecs
import importlib
import io
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command: `module` holds its typer app as `app`.

    The app has a command of the sub-command's name; if `is_group`, the app itself is the command.
    """

    module: str
    help: str
    is_group: bool = False


COMMANDS = {
    "serve": Command("server.cli.serve", "Run the server; it prints the address of its page."),
    "talk": Command(
        "client_demo.cli", "Send sound files through a running server and record the video."
    ),
    "generate": Command(
        "runtime.cli.generate", "Make a talking video from sound files, without a server."
    ),
    "official": Command(
        "runtime.cli.generate", "Make a video with the released 13 B weights, as the release does."
    ),
    "characters": Command("runtime.cli.generate", "List, add and preview characters."),
    "weights": Command(
        "runtime.cli.generate",
        "Fetch, check and convert the released 13 B weights; plan their memory.",
    ),
    "export": Command("export.cli", "Build engines for ONNX Runtime, TensorRT or TensorRT-RTX."),
    "bench": Command(
        "benchmarks.__main__",
        "Measure this machine: latency, quality, a model's speed.",
        is_group=True,
    ),
}
"""Every sub-command, in the order of the help. Modules are named, not imported: torch takes
seconds, and `server` must not import the packages above it."""


LOOK_ALIKES = {"→": "->", "–": "-", "—": "-", "±": "+-", "…": "...", "×": "x"}


def main(arguments: list[str] | None = None) -> None:
    """The console script; `arguments` are those of the command line by default."""
    _print_what_the_terminal_can()
    given = sys.argv[1:] if arguments is None else arguments
    name, *options = given or ["--help"]
    if name in COMMANDS:
        # OpenMP threads that spin take the cores from the event loop; torch reads this as it loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        command = COMMANDS[name]
        app = importlib.import_module(command.module).app
        if command.is_group:
            app(args=options, prog_name=f"avatar {name}")
        else:
            app(args=[name, *options], prog_name="avatar")
    elif name == "--version":
        print(f"avatar-server {version('avatar-server')}")
    elif name in ("--help", "-h"):
        print(usage())
    else:
        known = ", ".join(COMMANDS)
        print(f"There is no command {name!r}. Use one of {known}.", file=sys.stderr)
        sys.exit(2)


def _print_what_the_terminal_can() -> None:
    """Letters that stdout's encoding lacks become ASCII, instead of an error."""
    codecs.register_error("look-alikes", _look_alikes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="look-alikes")


def _look_alikes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(LOOK_ALIKES.get(one, "?") for one in letters), error.end


def usage() -> str:
    """What `avatar --help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["Usage: avatar COMMAND [OPTIONS]", "", *lines, "", "avatar COMMAND --help says more."]
    )


if __name__ == "__main__":
    main()
