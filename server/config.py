"""The server's whole configuration: one tree of frozen values, built once from TOML and flags."""

import dataclasses
import ipaddress
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from runtime.engine.kinds import FILES, check_precision, check_provider
from runtime.errors import AvatarError
from runtime.stream.presets import PRESETS, presets_of

T = TypeVar("T")

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
PAGE = Path(__file__).parent.parent / "client_demo"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message starts with the key's path."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server listens and who may speak to it."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_key: str | None = field(default=None, repr=False)
    allowed_origins: tuple[str, ...] = ()
    web_dir: Path = PAGE / "web"
    samples_dir: Path = PAGE / "samples"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Limits:
    """`media_timeout_ms` is a new session's time to offer media, `peer_timeout_ms` the time of an
    offer's peer to connect. `max_body_bytes` is for a request's body without its pictures.
    """

    max_sessions: int = 2
    max_queued: int = 8
    max_buffer_ms: int = 60_000
    resume_ms: int = 10_000
    media_timeout_ms: int = 60_000
    peer_timeout_ms: int = 30_000
    client_secret_ms: int = 60_000
    max_message_bytes: int = 17_000_000
    max_body_bytes: int = 256_000
    max_picture_bytes: int = 20_000_000
    max_unsent_events: int = 1_000


@dataclass(frozen=True, slots=True)
class Pacing:
    """How far ahead of playout pictures are generated."""

    max_lead_ms: int = 1_000
    margin_ms: int = 60
    rebuffer_ms: int = 240


@dataclass(frozen=True, slots=True)
class Model:
    """`checkpoint` None is the built-in model; `characters` are folders of further characters.

    A released folder as checkpoint needs a TAEHV file, `decoder` (None: taehv.pth in it), and keeps
    what its text encoders made in the folder `embeddings`. `blocks` is how many blocks of a large
    model an engine file holds.
    `devices` are torch's names; with two or more a session's denoising steps are shared between
    them. `engine` and `precision` are keys and values of runtime's PRECISIONS, `provider` a key of
    its PROVIDERS for the engine onnx (None: cpu); `engines` is the folder that `avatar export`
    filled, for engines that lie in files.
    """

    checkpoint: Path | None = None
    characters: tuple[Path, ...] = ()
    default_character: str | None = None
    default_preset: str = "interactive"
    threads: int = 0
    devices: tuple[str, ...] = ("cpu",)
    engine: str = "torch"
    precision: str = "fp32"
    provider: str | None = None
    engines: Path = FILES
    blocks: int = 1
    decoder: Path | None = None
    embeddings: Path | None = None


@dataclass(frozen=True, slots=True)
class IceServer:
    urls: tuple[str, ...] = ()
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Webrtc:
    ice_servers: tuple[IceServer, ...] = ()
    video_bitrate: int = 1_000_000


@dataclass(frozen=True, slots=True)
class ServerConfig:
    listen: Listen = field(default_factory=Listen)
    limits: Limits = field(default_factory=Limits)
    pacing: Pacing = field(default_factory=Pacing)
    model: Model = field(default_factory=Model)
    webrtc: Webrtc = field(default_factory=Webrtc)

    def __post_init__(self) -> None:
        _check(self)


def load_config(
    path: Path | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None
) -> ServerConfig:
    """The configuration in the TOML file `path`, `flags` such as {"listen": {"port": 1}} on top."""
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as reason:
            raise ConfigError(f"{path}: {reason.strerror}; name a TOML file that exists") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
            raise ConfigError(f"{path}: found no TOML: {reason}; correct the file") from None
    for section, values in (flags or {}).items():
        merged = table.setdefault(section, {})
        if isinstance(merged, dict):
            merged.update({key: value for key, value in values.items() if value is not None})
    return _build(ServerConfig, table, "")


def _build(kind: type[T], table: object, path: str) -> T:
    if not isinstance(table, dict):
        raise ConfigError(f"{path.rstrip('.')}: found {table!r}, expected a table of keys")
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise ConfigError(f"{path}{key}: unknown key, expected one of {', '.join(hints)}")
    return kind(**{key: _value(hints[key], value, path + key) for key, value in table.items()})


def _value(hint: Any, value: object, path: str) -> Any:
    """`value` from TOML as the type `hint`, or the error that names `path`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, path + ".")
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: found {value!r}, expected a list")
        return tuple(_value(get_args(hint)[0], each, f"{path}.{i}") for i, each in enumerate(value))
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{path}: found {value!r}, expected {hint.__name__}")
    return value


def _check(config: ServerConfig) -> None:
    """Refuse numbers and combinations that cannot work."""
    if not 0 <= config.listen.port <= 65_535:
        raise ConfigError(f"listen.port: found {config.listen.port}, expected 0 to 65535")
    if config.listen.api_key is not None and len(config.listen.api_key) < 16:
        raise ConfigError(
            "listen.api_key: found fewer than 16 characters; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if config.listen.api_key is None and not config.listen.is_loopback:
        raise ConfigError(
            f"listen.host: found {config.listen.host} without listen.api_key, expected a loopback "
            "address; set an API key or listen on 127.0.0.1"
        )
    for section in ("limits", "pacing"):
        table = getattr(config, section)
        for each in dataclasses.fields(table):
            low = 0 if each.name in ("max_queued", "resume_ms") else 1
            if getattr(table, each.name) < low:
                raise ConfigError(
                    f"{section}.{each.name}: found {getattr(table, each.name)}, "
                    f"expected {low} or more"
                )
    if config.model.threads < 0:
        raise ConfigError(f"model.threads: found {config.model.threads}, expected 0 or more")
    if config.model.blocks < 1:
        raise ConfigError(f"model.blocks: found {config.model.blocks}, expected 1 or more")
    if config.model.default_preset not in PRESETS:
        raise ConfigError(
            f"model.default_preset: found {config.model.default_preset!r}, expected one of "
            + ", ".join(PRESETS)
        )
    try:
        check_precision(config.model.engine, config.model.precision)
        check_provider(config.model.engine, config.model.provider)
    except AvatarError as error:
        raise ConfigError(f"model.{error.param}: {error}") from None
    _check_devices(config)
    _check_paths(config.model)
    _check_default_preset(config.model)


def _check_devices(config: ServerConfig) -> None:
    devices = config.model.devices
    if not devices or not all(DEVICE.fullmatch(name) for name in devices):
        raise ConfigError(f"model.devices: found {list(devices)}, expected cpu, cuda, cuda:0, ..")
    if len(devices) > 1 and config.limits.max_sessions > 1:
        raise ConfigError(
            f"limits.max_sessions: found {config.limits.max_sessions} with {len(devices)} devices, "
            "which share one session; expected 1"
        )
    if len(devices) > 1 and config.model.engine != "torch":
        raise ConfigError(
            f"model.engine: found {config.model.engine} with {len(devices)} devices, expected torch"
        )


def _check_paths(model: Model) -> None:
    paths = {"model.checkpoint": model.checkpoint} if model.checkpoint else {}
    paths |= {f"model.characters.{i}": path for i, path in enumerate(model.characters)}
    for key, path in paths.items():
        if not path.is_dir():
            raise ConfigError(f"{key}: found no folder at {path}; name one that exists")
    if model.decoder is not None and not model.decoder.is_file():
        raise ConfigError(f"model.decoder: found no file at {model.decoder}; name one that exists")


def _check_default_preset(model: Model) -> None:
    """A rank of the pipeline needs a denoising step, but for the last one, which decodes."""
    preset = presets_of(model.checkpoint)[model.default_preset]
    if len(model.devices) > preset.steps + 1:
        raise ConfigError(
            f"model.devices: found {len(model.devices)}, expected at most {preset.steps + 1}, as "
            f"model.default_preset {preset.name} has {preset.steps} denoising steps to share and "
            "the decoder; name fewer devices, or a preset of more steps"
        )
