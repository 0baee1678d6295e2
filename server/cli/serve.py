"""`avatar serve`: configuration from TOML and flags, then the server until it is stopped."""

import logging
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from runtime.engine.kinds import PRECISIONS, PROVIDERS
from runtime.errors import AvatarError
from runtime.stream.presets import PRESETS
from server.api.app import create_app
from server.config import ConfigError, ServerConfig, load_config
from server.generation.runtime_backend import RuntimeBackend
from server.protocol.fields import ProtocolError

PING_S = 10
"""A half-open socket is noticed after two of these."""
DRAIN_S = 5
OWN_CHARACTERS = Path("characters")
"""Where `avatar characters add` puts them."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """The server on which characters talk."""


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="A TOML file.")] = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8080; 0 takes a free one.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="AVATAR_API_KEY", help="Needed to listen beyond this machine."),
    ] = None,
    characters: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of further characters; default: ./characters, if there."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--weights",
            help="A model's folder, ours or a released one; default: the built-in one.",
        ),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(help="A TAEHV file for released weights; default: taehv.pth in their folder."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"What sessions begin with: {', '.join(PRESETS)}; default: interactive."),
    ] = None,
    max_sessions: Annotated[int | None, typer.Option(help="Sessions at once.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Torch threads; 0: one on up to two cores, else torch decides."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="cpu, cuda:0, ..; given several times, one session is pipelined over them."
        ),
    ] = None,
    engine: Annotated[str | None, typer.Option(help=", ".join(PRECISIONS))] = None,
    precision: Annotated[
        str | None, typer.Option(help="What the engine computes in; default: fp32.")
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(help=f"Of --engine onnx: {', '.join(PROVIDERS)}; default: cpu."),
    ] = None,
    engines: Annotated[
        Path | None, typer.Option(help="The folder that `avatar export` filled; default: ./engines")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Blocks an engine file, as given to `avatar export`.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Run the server; it prints the address of its page when it is ready."""
    if characters is None and config is None and OWN_CHARACTERS.is_dir():
        characters = [OWN_CHARACTERS]
    flags: dict[str, dict[str, object]] = {
        "listen": {"host": host, "port": port, "api_key": api_key},
        "limits": {"max_sessions": max_sessions},
        "model": {
            "characters": characters,
            "checkpoint": checkpoint,
            "threads": threads,
            "devices": device,
            "engine": engine,
            "precision": precision,
            "provider": provider,
            "engines": engines,
            "blocks": blocks,
            "decoder": decoder,
            "default_preset": preset,
        },
    }
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        run(load_config(config, flags), log_level)
    except (ConfigError, AvatarError, ProtocolError) as error:
        typer.echo(f"avatar serve: {error}", err=True)
        raise typer.Exit(1) from None


def run(config: ServerConfig, log_level: str = "warning") -> None:
    """Serve until a signal ends it."""
    typer.echo("Loading the model ..")
    listener = bind(config)
    application = create_app(config, RuntimeBackend(config.model))
    server = _Server(uvicorn_config(config, application, log_level), listener)
    # A refusal is told in a sentence, by who catches it, without uvicorn's traceback.
    log = logging.getLogger("uvicorn.error")

    def is_no_refusal(record: logging.LogRecord) -> bool:
        return application.state.failure is None

    log.addFilter(is_no_refusal)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # how uvicorn ends when the app could not start
        if application.state.failure is None:
            raise
    finally:
        log.removeFilter(is_no_refusal)
        listener.close()  # uvicorn does so only once it has started
    if application.state.failure is not None:
        raise application.state.failure


def uvicorn_config(
    config: ServerConfig, application: object, log_level: str = "warning"
) -> uvicorn.Config:
    """How uvicorn runs the app; tests run it the same way."""
    return uvicorn.Config(
        application,  # type: ignore[arg-type]  # an ASGI app
        loop="uvloop",
        ws="websockets-sansio",
        ws_max_size=config.limits.max_message_bytes,
        ws_per_message_deflate=False,  # PCM does not shrink, it only costs time
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        timeout_graceful_shutdown=DRAIN_S,
        log_level=log_level,
        log_config=None,
        access_log=False,
    )


def bind(config: ServerConfig) -> socket.socket:
    """The listening socket; made before the model is loaded, so that a taken port fails at once."""
    listen = config.listen
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
    except OSError as reason:
        listener.close()
        raise ConfigError(
            f"listen.port: cannot listen on {listen.host}:{listen.port} ({reason.strerror}); "
            "stop what listens there, or choose another --port"
        ) from None
    return listener


class _Server(uvicorn.Server):
    """Says where the page is, once a browser can open it."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self._listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            typer.echo(f"Ready: open http://{shown}:{port}/")
