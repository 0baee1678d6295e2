"""`make demo`: sends the shipped sentence through a server, without a browser.

If no server runs at the URL, the demo starts one and stops it at the end.
"""

import json
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from avatar_client.connection.address import http_opener, http_url, is_loopback
from avatar_client.errors import AvatarClientError

from client_demo.cli import DEFAULT_URL, run
from client_demo.measure.talk import TalkPlan

SAMPLES = Path(__file__).parent / "samples"
READY_TIMEOUT_S = 180.0  # a cold start loads torch and warms up the model
STOP_TIMEOUT_S = 15.0


def demo(
    out: Annotated[Path, typer.Option(help="Recording: .mp4, .mov or .mkv.")] = Path("demo.mp4"),
    url: Annotated[str, typer.Option(envvar="AVATAR_URL")] = DEFAULT_URL,
    character: Annotated[
        str | None, typer.Option(help="Default: the character that the sample was made for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a character speak the shipped sentence; write the video and print the latencies."""
    hello = json.loads((SAMPLES / "samples.json").read_text())["hello"]
    lines = ((None, SAMPLES / hello["file"]),)
    plan = TalkPlan(url, lines, out, character=character or hello["character"])
    try:
        with running_server(url):
            typer.echo(f"Playing {hello['file']} at speaking pace ..", err=True)
            run(plan, as_json)
            typer.echo(f"Watch it: {out}", err=True)
    except AvatarClientError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@contextmanager
def running_server(url: str) -> Iterator[None]:
    """Use the server at `url`. If none answers there, start one and stop it at the end.

    Raises AvatarClientError if the started server does not become ready.
    """
    if status(url, "/healthz") == 200:
        yield
        return
    parts = urlsplit(http_url(url, ""))
    if not is_loopback(parts.hostname or ""):
        raise AvatarClientError(f"No avatar server answers at {url}. Start one there: avatar serve")
    typer.echo(f"No server at {url}: starting one ..", err=True)
    port = str(parts.port or 80)
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
        address = url.rstrip("/") + path
        with http_opener(address).open(address, timeout=5) as response:
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
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # not all are UTF-8
    typer.run(demo)
