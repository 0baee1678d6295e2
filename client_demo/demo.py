"""`make demo`: sends the shipped sentence through a server, without a browser.

If no server runs at the URL, the demo starts one and stops it at the end.
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
READY_TIMEOUT_S = 180.0  # a cold start loads torch and warms up the model
STOP_TIMEOUT_S = 15.0


def demo(
    out: Annotated[Path, typer.Option(help="The recording, mp4.")] = Path("demo.mp4"),
    url: Annotated[str, typer.Option(envvar="AVATAR_URL")] = DEFAULT_URL,
    character: Annotated[
        str | None, typer.Option(help="Default: the character that the sample was made for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a character speak the shipped sentence; write the video and print the latencies."""
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
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error


@contextmanager
def running_server(url: str, console: Console) -> Iterator[None]:
    """Use the server at `url`. If none answers there, start one and stop it at the end.

    Raises AvatarClientError if the started server does not become ready.
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
    """HTTP status of a GET, or None if nothing answers."""
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
                f"The server exited with status {server.returncode} before it was ready. "
                "Its own message is above."
            )
        if time.monotonic() > until_s:
            raise AvatarClientError(
                f"The server was not ready within {READY_TIMEOUT_S:.0f} s. See why by hand: "
                "avatar serve"
            )
        time.sleep(0.2)


if __name__ == "__main__":
    typer.run(demo)
