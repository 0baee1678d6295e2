"""`avatar talk`: sends sound files through a running server; writes an mp4 and a latency table."""

import asyncio
import enum
import logging
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from avatar_client.errors import AvatarClientError
from avatar_client.media_files.paths import is_file
from rich.console import Console

from client_demo.measure.audio_file import AudioFileError
from client_demo.measure.report import TalkReport, show
from client_demo.measure.talk import TalkPlan, talk

DEFAULT_URL = "http://127.0.0.1:8080"

app = typer.Typer(help="Talk with a running avatar server.", no_args_is_help=True)


class SpeakingPace(enum.StrEnum):
    realtime = "realtime"
    fast = "fast"


@app.callback()
def main() -> None:
    """Clients of the avatar server."""


@app.command("talk")
def talk_command(
    sounds: Annotated[
        list[str],
        typer.Argument(help="Sound files: one, or speaker=file for each speaker of a character."),
    ],
    out: Annotated[Path, typer.Option(help="Recording: .mp4, .mov or .mkv.")] = Path("talk.mp4"),
    character: Annotated[
        str | None,
        typer.Option(help="Default: the first with the named speakers, or the server's."),
    ] = None,
    url: Annotated[str, typer.Option(envvar="AVATAR_URL")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="AVATAR_API_KEY")] = None,
    pace: Annotated[
        SpeakingPace, typer.Option(help="As a person speaks, or all at once.")
    ] = SpeakingPace.realtime,
    interrupt_after: Annotated[
        float | None,
        typer.Option(min=0, help="Interrupt this many seconds after the speech starts."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send sound files through a running server and record the character that speaks them."""
    plan = TalkPlan(
        url=url,
        lines=tuple(parse_line(sound) for sound in sounds),
        out=out,
        character=character,
        api_key=api_key,
        pace="realtime" if pace is SpeakingPace.realtime else "fast",
        interrupt_after_s=interrupt_after,
        tell=partial(typer.echo, err=True),
    )
    run(plan, as_json)


def run(plan: TalkPlan, as_json: bool = False) -> None:
    """Hold the talk and print its report. A failure prints its message and exits with 1.

    SIGINT and SIGTERM end the talk and its recording properly; they exit with 130 and 143.
    """
    # The report, or the error below, tells of a broken recording.
    logging.getLogger("avatar_client.recording").addHandler(logging.NullHandler())
    before = _modified_ns(plan.out)
    try:
        report = asyncio.run(_talk_until_signal(plan))
    except (AudioFileError, AvatarClientError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as signalled:
        is_written = _modified_ns(plan.out) != before
        kept = f" {plan.out} holds the talk so far." if is_written else ""
        typer.echo(f"Interrupted.{kept}", err=True)
        is_sigint = isinstance(signalled, KeyboardInterrupt)
        raise typer.Exit(128 + (signal.SIGINT if is_sigint else signal.SIGTERM)) from None
    if as_json:
        typer.echo(report.to_json())
    else:
        show(report, Console())


async def _talk_until_signal(plan: TalkPlan) -> TalkReport:
    """`talk`, which SIGTERM cancels; asyncio does the same for SIGINT."""
    task = asyncio.current_task()
    assert task is not None  # a coroutine of asyncio.run
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await talk(plan)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _modified_ns(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def parse_line(sound: str) -> tuple[str | None, Path]:
    """(speaker, path) of `ana=a.wav`; an existing path is a path even with a "=" in it."""
    if is_file(Path(sound)) or "=" not in sound:
        return None, Path(sound)
    speaker, _, path = sound.partition("=")
    return speaker, Path(path)
