"""`avatar serve`: configuration from TOML and flags, then the server until it is stopped."""

import faulthandler
import logging
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from runtime.cli.command_values import own_characters
from runtime.errors import AvatarError
from server.api.app import create_app
from server.cli.lifetime import ProcessServer, bind, uvicorn_config
from server.cli.log import LEVELS, set_up_log
from server.cli.open_files import check_open_files
from server.config import ConfigError, ServerConfig
from server.config_file import load_config, to_toml
from server.field_info import declared_fields
from server.generation.runtime_backend import RuntimeBackend
from server.protocol.errors import ProtocolError

logger = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, no_args_is_help=True)


def _meaning(path: str) -> str:
    """What the configuration says of a key, as the help of its flag."""
    section, name = path.split(".")
    table = get_type_hints(ServerConfig)[section]
    (declared,) = (each for each in declared_fields(table) if each.attribute == name)
    info = declared.info
    return info.text + (f" One of {', '.join(info.choices)}." if info.choices else "")


@app.callback()
def main() -> None:
    """The server on which characters talk."""


@app.command()
def serve(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file; flags win over what it says.")
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print the configuration as TOML, and do not serve."),
    ] = False,
    host: Annotated[str | None, typer.Option(help=_meaning("listen.host"))] = None,
    port: Annotated[int | None, typer.Option(help=_meaning("listen.port"))] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="AVATAR_API_KEY", help=_meaning("listen.api_key"))
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(envvar="AVATAR_API_KEY_FILE", help=_meaning("listen.api_key_file")),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None, typer.Option(help=_meaning("listen.allowed_origins"))
    ] = None,
    characters: Annotated[
        list[Path] | None, typer.Option(help=_meaning("model.characters"))
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", "--weights", help=_meaning("model.checkpoint")),
    ] = None,
    decoder: Annotated[Path | None, typer.Option(help=_meaning("model.decoder"))] = None,
    preset: Annotated[str | None, typer.Option(help=_meaning("model.default_preset"))] = None,
    max_sessions: Annotated[int | None, typer.Option(help=_meaning("limits.max_sessions"))] = None,
    threads: Annotated[int | None, typer.Option(help=_meaning("model.threads"))] = None,
    device: Annotated[list[str] | None, typer.Option(help=_meaning("model.devices"))] = None,
    engine: Annotated[str | None, typer.Option(help=_meaning("model.engine"))] = None,
    precision: Annotated[str | None, typer.Option(help=_meaning("model.precision"))] = None,
    provider: Annotated[str | None, typer.Option(help=_meaning("model.provider"))] = None,
    engines: Annotated[Path | None, typer.Option(help=_meaning("model.engines"))] = None,
    blocks: Annotated[int | None, typer.Option(help=_meaning("model.blocks"))] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Run the server; it prints the address of its page when it is ready."""
    flags: dict[str, dict[str, object]] = {
        "listen": {
            "host": host,
            "port": port,
            "api_key": api_key,
            "api_key_file": api_key_file,
            "allowed_origins": allowed_origin,
        },
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
    try:
        _check_flags(context, log_level)
        loaded = load_config(config, flags, {"model": {"characters": _own_folders()}})
        if print_config:
            typer.echo(to_toml(loaded), nl=False)
            return
        set_up_log(log_level, loaded)
        run(loaded, log_level)
    except (ConfigError, AvatarError, ProtocolError) as error:
        typer.echo(f"avatar serve: {error}", err=True)
        raise typer.Exit(1) from None


def _check_flags(context: typer.Context, log_level: str) -> None:
    """Refuse an unknown log level, and warn of a key that every user of the machine can read."""
    if log_level not in LEVELS:
        raise ConfigError(f"--log-level is {log_level!r}, but must be one of {', '.join(LEVELS)}.")
    source = context.get_parameter_source("api_key")
    if source is not None and source.name == "COMMANDLINE":
        typer.echo(
            "The key after --api-key can be read in the list of processes by every user of this "
            "machine. Use --api-key-file or AVATAR_API_KEY instead.",
            err=True,
        )


def _own_folders() -> list[Path]:
    """The folder of the user's own characters, made for uploads; none if it cannot be made."""
    folder = own_characters()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        typer.echo(f"No folder for own characters: {folder} ({reason.strerror}).", err=True)
        return []
    return [folder]


def run(config: ServerConfig, log_level: str = "warning") -> None:
    """Serve until a signal ends it; raises what kept the model from being loaded."""
    if not (config.listen.web_dir / "index.html").is_file():
        logger.warning("listen.web_dir: %s has no index.html: no page", config.listen.web_dir)
    listener = bind(config)
    check_open_files(config.limits.max_sessions)
    typer.echo("Loading the model ..")
    application = create_app(config, RuntimeBackend(config.model), is_served_while_loading=True)
    settings = uvicorn_config(config, application, log_level)
    try:
        ProcessServer(settings, application, config.limits.drain_ms, listener).run([listener])
    finally:
        faulthandler.cancel_dump_traceback_later()
        listener.close()
    if application.state.failure is not None:
        raise application.state.failure
