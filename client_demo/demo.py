"""`make demo`: the shipped sentence through a server, without a browser.

Uses the server on the port where one runs; else starts one for the time of the demo.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from avatar_client.session_socket import AvatarClientError
from rich.console import Console

from client_demo.cli import DEFAULT_URL, run
from client_demo.measure.talk import TalkPlan

SAMPLES = Path(__file__).parent / "samples"
READY_TIMEOUT_S = 180.0  # a cold start loads torch and warms the model up
STOP_TIMEOUT_S = 15.0


def demo(
    out: Annotated[Path, typer.Option(help="The recording, mp4.")] = Path("demo.mp4"),
    url: Annotated[str, typer.Option(envvar="AVATAR_URL")] = DEFAULT_URL,
    character: Annotated[
        str | None, typer.Option(help="Default: the one whose voice the sample fits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a character say the shipped sentence; write the video and print its latencies."""
    console = Console(stderr=True)
    hello = json.loads((SAMPLES / "samples.json").read_text())["hello"]
    lines = ((None, SAMPLES / hello["file"]),)
    plan = TalkPlan(url, lines, out, character=character or hello["character"])
    try:
        with running_server(url, console):
            console.print(f"Playing {hello['file']} at speaking pace ..")
            run(plan, as_json)
            console.print(f"Watch it: {out}")
    except AvatarClientError as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from error


@contextmanager
def running_server(url: str, console: Console) -> Iterator[None]:
    """The server at `url`; started, and stopped at the end, where none answers there.

    Raises AvatarClientError when the started one does not become ready.
    """
    if status(url, "/healthz") == 200:
        yield
        return
    console.print(f"No server at {url}: starting one ..")
    port = url.rstrip("/").rpartition(":")[2]
    server = subprocess.Popen([sys.executable, "-m", "server", "--port", port])
    try:
        _wait_until_ready(url, server)
        yield
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def status(url: str, path: str) -> int | None:
    """HTTP status of a GET, or None where nobody answers."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as answer:
        return answer.code
    except OSError:
        return None


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    until_s = time.monotonic() + READY_TIMEOUT_S
    while status(url, "/readyz") != 200:
        if server.poll() is not None:
            raise AvatarClientError(
                f"the server ended with status {server.returncode} before it was ready; "
                "its message is above"
            )
        if time.monotonic() > until_s:
            raise AvatarClientError(f"the server was not ready within {READY_TIMEOUT_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    typer.run(demo)
