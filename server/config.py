"""The server's whole configuration: one tree of frozen values, checked when it is built.

Each key declares its meaning and range beside its type (`Key`). The checks, `--print-config`, the
help of the flags and docs/configuration.md all read these declarations.
"""

import dataclasses
import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from runtime.engine.kinds import FILES, PRECISIONS, PROVIDERS, check_precision, check_provider
from runtime.errors import AvatarError
from runtime.stream.presets import PRESETS, presets_of
from server.config_key import ConfigError, Key
from server.field_info import DeclaredField, Info, declared_fields
from server.listen_config import SHIPPED, Listen, check_listen

__all__ = [
    "SHIPPED",
    "ConfigError",
    "IceServer",
    "Key",
    "Limits",
    "Listen",
    "Model",
    "Pacing",
    "ServerConfig",
    "Webrtc",
    "keys",
]

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
ICE_URL = re.compile(
    r"(?P<kind>stuns?|turns?):[A-Za-z0-9_.-]+(:(?P<port>\d{1,5}))?(\?transport=(udp|tcp))?"
)
"""RFC 7064 and 7065; aiortc reads no IPv6 addresses in them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one server and one session may take."""

    max_sessions: Annotated[int, Key("Sessions at once.", low=1, flag="--max-sessions")] = 2
    max_sessions_per_address: Annotated[
        int | None,
        Key(
            "Sessions at once of one IP address (IPv6: network of 64 bits). It waits for more, and "
            "others are admitted past it; it takes at most half of the queue.",
            low=1,
            default_text="one less than `max_sessions`, if that is more than 2",
        ),
    ] = None
    max_queued: Annotated[int, Key("Clients that may wait for a session.", low=0)] = 8
    max_buffer_ms: Annotated[int, Key("Speech held per speaker.", low=1)] = 60_000
    resume_ms: Annotated[
        int, Key("How long a session outlives a lost socket; 0 ends it at once.", low=0)
    ] = 10_000
    media_timeout_ms: Annotated[
        int, Key("Time for a new session to send `webrtc.offer`.", low=1)
    ] = 60_000
    peer_timeout_ms: Annotated[
        int, Key("Time for an offer's peer to connect, and to offer again after a loss.", low=1)
    ] = 30_000
    model_timeout_ms: Annotated[
        int,
        Key(
            "How long a tick or a new stream may take before the model counts as hung, and the "
            "server ends with status 70. It may always take five times as long as at the start.",
            low=1_000,
        ),
    ] = 20_000
    drain_ms: Annotated[
        int,
        Key("How long speech may play on after a signal to end the server.", low=0, high=600_000),
    ] = 5_000
    idle_ms: Annotated[
        int,
        Key(
            "End a session after that time without speech and without a message of its client; 0: "
            "never.",
            low=0,
        ),
    ] = 0
    max_session_ms: Annotated[
        int, Key("End a session after that time, whatever happens; 0: never.", low=0)
    ] = 0
    client_secret_ms: Annotated[int, Key("How long a client secret is valid.", low=1)] = 60_000
    max_client_secrets: Annotated[
        int, Key("Unused client secrets of one address; a further one ends its oldest.", low=1)
    ] = 1_000
    max_message_bytes: Annotated[int, Key("Largest WebSocket message.", low=1)] = 17_000_000
    max_body_bytes: Annotated[int, Key("Largest HTTP body, uploaded pictures aside.", low=1)] = (
        256_000
    )
    max_picture_bytes: Annotated[int, Key("Largest uploaded picture.", low=1)] = 20_000_000
    max_unsent_events: Annotated[
        int, Key("Events kept for a client that does not read.", low=1)
    ] = 1_000

    @property
    def sessions_per_address(self) -> int:
        """Sessions at once of one client."""
        if self.max_sessions_per_address is not None:
            return self.max_sessions_per_address
        return self.max_sessions - 1 if self.max_sessions > 2 else self.max_sessions


@dataclass(frozen=True, slots=True)
class Pacing:
    """How far ahead of playout frames are generated."""

    max_lead_ms: Annotated[
        int,
        Key(
            "Most that generation runs ahead of playout while somebody speaks. A stream keeps 4 s "
            "for interruptions, one hop of it beyond this lead.",
            low=1,
            high=2_500,
        ),
    ] = 1_000
    margin_ms: Annotated[
        int, Key("Time that frames should be ready before they are due.", low=1)
    ] = 60
    rebuffer_ms: Annotated[
        int, Key("Speech collected before an item that ran dry plays on.", low=1)
    ] = 240


@dataclass(frozen=True, slots=True)
class Model:
    """The model, the engine that runs it, and the characters."""

    checkpoint: Annotated[
        Path | None,
        Key(
            "A model's folder, ours or a released one; without it, the built-in model.",
            flag="--checkpoint",
        ),
    ] = None
    characters: Annotated[
        tuple[Path, ...],
        Key(
            "Folders of further characters; uploads go into the first.",
            flag="--characters",
            default_text="`avatar serve`: the folder that `avatar characters add` writes to",
        ),
    ] = ()
    default_character: Annotated[str | None, Key("Character of sessions that name none.")] = None
    default_preset: Annotated[
        str,
        Key("Preset that sessions begin with.", choices=tuple(PRESETS), flag="--preset"),
    ] = "interactive"
    threads: Annotated[
        int,
        Key(
            "Threads of torch; 0: one on up to two cores, else torch decides.",
            low=0,
            high=512,
            flag="--threads",
        ),
    ] = 0
    devices: Annotated[
        tuple[str, ...],
        Key(
            "Torch devices. With two or more, one session's denoising steps are pipelined over "
            "them.",
            flag="--device",
        ),
    ] = ("cpu",)
    engine: Annotated[
        str, Key("What runs the model.", choices=tuple(PRECISIONS), flag="--engine")
    ] = "torch"
    precision: Annotated[
        str, Key("What the engine computes in; each engine has its own.", flag="--precision")
    ] = "fp32"
    provider: Annotated[
        str | None,
        Key(
            "Execution provider of the engine `onnx`; without it, `cpu`.",
            choices=tuple(PROVIDERS),
            flag="--provider",
        ),
    ] = None
    engines: Annotated[
        Path,
        Key("Folder that `avatar export` filled, for engines in files.", flag="--engines"),
    ] = FILES
    blocks: Annotated[
        int,
        Key(
            "Blocks of a large model in one engine file, as given to `avatar export`.",
            low=1,
            flag="--blocks",
        ),
    ] = 1
    decoder: Annotated[
        Path | None,
        Key(
            "TAEHV file for a released model; without it, `taehv.pth` in its folder.",
            flag="--decoder",
        ),
    ] = None
    embeddings: Annotated[
        Path | None,
        Key("Folder that keeps what a released model's text encoders computed."),
    ] = None


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, for both sides of the connection."""

    urls: Annotated[tuple[str, ...], Key("Addresses, such as `turn:turn.example:3478`.")] = ()
    username: Annotated[str | None, Key("For TURN.")] = None
    credential: Annotated[str | None, Key("For TURN.", is_secret=True)] = field(
        default=None, repr=False
    )
    secret: Annotated[
        str | None,
        Key(
            "Secret shared with the TURN server (coturn: `static-auth-secret`). Each session then "
            "gets a user name and a credential of its own that expire; leave `username` and "
            "`credential` out.",
            is_secret=True,
        ),
    ] = field(default=None, repr=False)
    ttl_ms: Annotated[
        int, Key("How long credentials made from `secret` are valid.", low=60_000)
    ] = 21_600_000


@dataclass(frozen=True, slots=True)
class Webrtc:
    """The media connection."""

    ice_servers: Annotated[
        tuple[IceServer, ...],
        Key("STUN and TURN servers, as `[[webrtc.ice_servers]]` tables."),
    ] = ()
    allowed_networks: Annotated[
        tuple[str, ...],
        Key(
            "Further networks that clients may have media sent to, as `10.0.0.0/8`. Public "
            "addresses always may; private ones only for clients that come from a private address."
        ),
    ] = ()
    video_bitrate: Annotated[
        int,
        Key(
            "Bits a second that the video begins with; then it follows the viewer's network, up "
            "to 1,500,000 or this, whichever is more.",
            low=1,
        ),
    ] = 200_000


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The tree: one table of TOML per field."""

    listen: Listen = field(default_factory=Listen)
    limits: Limits = field(default_factory=Limits)
    pacing: Pacing = field(default_factory=Pacing)
    model: Model = field(default_factory=Model)
    webrtc: Webrtc = field(default_factory=Webrtc)

    def __post_init__(self) -> None:
        _check(self)


def keys(config: ServerConfig) -> Iterator[tuple[str, DeclaredField, Any]]:
    """Each key's table, its declaration and its value."""
    for table in dataclasses.fields(config):
        section = getattr(config, table.name)
        for declared in declared_fields(type(section)):
            yield table.name, declared, getattr(section, declared.attribute)


def _check(config: ServerConfig) -> None:
    """Refuse numbers and combinations that cannot work."""
    for section, declared, value in keys(config):
        if value is not None:
            _check_value(f"{section}.{declared.attribute}", declared.info, value)
    check_listen(config.listen)
    try:
        check_precision(config.model.engine, config.model.precision)
        check_provider(config.model.engine, config.model.provider)
    except AvatarError as error:
        raise ConfigError(f"model.{error.param}: {error}") from None
    _check_webrtc(config.webrtc)
    _check_devices(config)
    _check_paths(config.model, config.listen)
    _check_default_preset(config.model)


def _check_webrtc(webrtc: Webrtc) -> None:
    for place, server in enumerate(webrtc.ice_servers):
        _check_ice_server(f"webrtc.ice_servers.{place}", server)
    for network in webrtc.allowed_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as reason:
            raise ConfigError(
                f"webrtc.allowed_networks names {network!r}, which is no network ({reason}). Write "
                "10.0.0.0/8 or fd00::/8."
            ) from None


def _check_ice_server(path: str, server: IceServer) -> None:
    """Refuse what a browser or aiortc would refuse at every offer."""
    if not server.urls:
        raise ConfigError(f"{path}.urls is empty. Name at least one address, or leave it out.")
    for url in server.urls:
        match = ICE_URL.fullmatch(url)
        is_stun_with_transport = url.startswith("stun") and "?" in url
        if match is None or is_stun_with_transport or not 0 < int(match["port"] or 1) <= 65_535:
            raise ConfigError(
                f"{path}.urls names {url!r}, which is no address of a STUN or TURN server. Write "
                "stun:HOST:PORT, turn:HOST:PORT or turns:HOST:PORT?transport=tcp, with a name or "
                "an IPv4 address."
            )
    _check_turn_secret(path, server)
    is_turn = any(url.startswith("turn") for url in server.urls)
    if is_turn and server.secret is None and not (server.username and server.credential):
        raise ConfigError(
            f"{path} is a TURN server without credentials, which browsers refuse. Add its secret, "
            "or a username and a credential."
        )


def _check_turn_secret(path: str, server: IceServer) -> None:
    if server.secret is not None and (server.username or server.credential):
        raise ConfigError(
            f"{path} has a secret, and also a username or a credential. Keep the secret alone for "
            "credentials that expire, or the other two for fixed ones."
        )
    if server.secret == "":
        raise ConfigError(f"{path}.secret is empty. Use the TURN server's secret, or leave it out.")


def _check_value(path: str, info: Info, value: Any) -> None:
    """Refuse a value outside of what its key declares."""
    if info.low is not None and value < info.low:
        raise ConfigError(f"{path} is {value}, but must be {info.low} or more.")
    if info.high is not None and value > info.high:
        raise ConfigError(f"{path} is {value}, but must be {info.high} or less.")
    if info.min_chars and len(value) < info.min_chars:
        raise ConfigError(f"{path} has fewer than {info.min_chars} characters. {info.remedy}")
    if info.choices and value not in info.choices:
        choices = ", ".join(info.choices)
        raise ConfigError(f"{path} is {value!r}, but must be one of {choices}.")


def _check_devices(config: ServerConfig) -> None:
    devices = config.model.devices
    if not devices or not all(DEVICE.fullmatch(name) for name in devices):
        raise ConfigError(
            f"model.devices is {list(devices)}, but must name cpu, cuda, cuda:0, and so on."
        )
    if len(devices) > 1 and config.limits.max_sessions > 1:
        raise ConfigError(
            f"limits.max_sessions is {config.limits.max_sessions}, but must be 1: the "
            f"{len(devices)} devices of model.devices share one session."
        )
    if len(devices) > 1 and config.model.engine != "torch":
        raise ConfigError(
            f"model.engine is {config.model.engine}, but must be torch with more than one device."
        )


def _check_paths(model: Model, listen: Listen) -> None:
    paths = {"listen.web_dir": listen.web_dir, "listen.samples_dir": listen.samples_dir}
    paths |= {"model.checkpoint": model.checkpoint} if model.checkpoint else {}
    paths |= {f"model.characters.{i}": path for i, path in enumerate(model.characters)}
    for key, path in paths.items():
        if not path.is_dir():
            raise ConfigError(f"{key}: there is no folder {path}. Name one that exists.")
        if not os.access(path, os.R_OK | os.X_OK):
            raise ConfigError(f"{key}: the folder {path} may not be read. Change its permissions.")
    if model.decoder is not None and not model.decoder.is_file():
        raise ConfigError(f"model.decoder: there is no file {model.decoder}. Name one that exists.")


def _check_default_preset(model: Model) -> None:
    """Each process of a pipeline needs a denoising step; the last one decodes."""
    preset = presets_of(model.checkpoint)[model.default_preset]
    if len(model.devices) > preset.steps + 1:
        raise ConfigError(
            f"model.devices names {len(model.devices)} devices, but the preset {preset.name} has "
            f"work for {preset.steps + 1}: {preset.steps} denoising steps and the decoder. Name "
            "fewer devices, or a preset with more steps."
        )
