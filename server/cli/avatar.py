"""The `avatar` command. Each sub-command's module is loaded only when it is asked for."""

import importlib
import os
import sys
from importlib.metadata import version

HOMES = {
    "serve": "server.cli.serve",
    "talk": "client_demo.cli",
    "generate": "runtime.cli.generate",
    "characters": "runtime.cli.generate",
    "weights": "runtime.cli.generate",
    "export": "export.cli",
    "bench": "benchmarks.cli",
}
"""Sub-command to the module whose `app` (a typer app) has it."""

USAGE = """\
Usage: avatar COMMAND [OPTIONS]

  serve       Run the server; it prints the address of its page.
  talk        Send sound files through a running server and record the video.
  generate    Make a talking video from sound files, without a server.
  characters  List, add and preview characters.
  weights     Fetch, check and convert the released 13 B weights; plan their memory.
  export      Build engines for ONNX Runtime, TensorRT or TensorRT-RTX.
  bench       Measure this machine: latency, quality, a model's speed.

avatar COMMAND --help says more.
"""


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    name = arguments[0] if arguments else "--help"
    if name in HOMES:
        # OpenMP threads that spin take the cores from the event loop; read when torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        importlib.import_module(HOMES[name]).app(args=arguments, prog_name="avatar")
    elif name == "--version":
        print(f"avatar-server {version('avatar-server')}")
    elif name in ("--help", "-h"):
        print(USAGE, end="")
    else:
        print(f"found the command {name!r}, expected one of {', '.join(HOMES)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
