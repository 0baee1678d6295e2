"""The configuration as TOML: read from a file with flags on top, and written with comments."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from server.config import ConfigError, IceServer, Key, ServerConfig, keys
from server.field_info import DeclaredField, declared_fields, present_type

T = TypeVar("T")

KEY_SOURCES = ("api_key", "api_key_file")
MOST_KEY_BYTES = 4_096


def load_config(
    path: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> ServerConfig:
    """The configuration of the TOML file `path`.

    `flags`, such as {"listen": {"port": 1}}, win over the file, and the file over `defaults`; a
    value None is no value. Raises ConfigError.
    """
    table: dict[str, Any] = {}
    for layer in (_plain(defaults), _read(path), _plain(flags)):
        table = _merged(_without_key(table, layer), layer)
    return _build(ServerConfig, _with_read_key(table), "")


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise ConfigError(f"{path}: {reason.strerror}. Name a TOML file that exists.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise ConfigError(f"{path} is not TOML: {reason}. Correct the file.") from None


def _plain(sections: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    return {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in (sections or {}).items()
    }


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two tables of tables; `above` wins. What is not a table stays for `_build` to refuse."""
    merged = {**below, **above}
    for section in below.keys() & above.keys():
        if isinstance(above[section], dict):
            merged[section] = {**below[section], **above[section]}
    return merged


def _without_key(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below`, without the API key's source if `above` names one."""
    listen, wins = below.get("listen"), above.get("listen")
    if not isinstance(listen, dict) or not isinstance(wins, dict):
        return below
    if not any(name in wins for name in KEY_SOURCES):
        return below
    kept = {name: value for name, value in listen.items() if name not in KEY_SOURCES}
    return {**below, "listen": kept}


def _with_read_key(table: dict[str, Any]) -> dict[str, Any]:
    """`table` with the API key from its file, and without space around the key."""
    listen = table.get("listen")
    if not isinstance(listen, dict):
        return table
    key, file = (listen.get(name) for name in KEY_SOURCES)
    if key is not None and file is not None:
        raise ConfigError(
            "listen.api_key and listen.api_key_file (--api-key and --api-key-file, AVATAR_API_KEY "
            "and AVATAR_API_KEY_FILE) are both set. Set one of them."
        )
    if isinstance(file, str | Path):
        key = _key_in(Path(file).expanduser())
    return (
        {**table, "listen": {**listen, "api_key": key.strip()}} if isinstance(key, str) else table
    )


def _key_in(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_KEY_BYTES).decode("ascii").strip()
    except OSError as reason:
        raise ConfigError(
            f"listen.api_key_file: {file}: {reason.strerror}. Name a file that holds the key."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"listen.api_key_file: {file} holds more than ASCII characters, which HTTP cannot "
            "carry. Save one plain line."
        ) from None


def _build(kind: type[T], table: object, path: str) -> T:
    if not isinstance(table, dict):
        raise ConfigError(f"{path.rstrip('.')} is {table!r}, but must be a table of keys.")
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise ConfigError(f"{path}{key}: unknown key. Use one of {', '.join(hints)}.")
    return kind(**{key: _value(hints[key], value, path + key) for key, value in table.items()})


def _value(hint: Any, value: object, path: str) -> Any:
    """`value` from TOML as the type `hint`, or the error that names `path`."""
    hint = present_type(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, path + ".")
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} is {value!r}, but must be a list.")
        return tuple(_value(get_args(hint)[0], each, f"{path}.{i}") for i, each in enumerate(value))
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{path} is {value!r}, but must be {hint.__name__}.")
    return value


def to_toml(config: ServerConfig) -> str:
    """Every key with its value and its meaning; `load_config` reads it back.

    Secrets are not written: a comment stands in their place. Keys without a value are comments.
    """
    lines = ["# The effective configuration of `avatar serve`. Secrets are left out."]
    section = ""
    tables: list[str] = []
    for name, declared, value in keys(config):
        if name != section:
            section = name
            lines += ["", *_comment(_doc(getattr(config, name))), f"[{name}]"]
        if declared.item is IceServer:
            tables += _ice_servers(value)
        else:
            lines += [*_comment(_meaning(declared)), _line(declared, value)]
    return "\n".join([*lines, *tables]) + "\n"


def _line(declared: DeclaredField, value: Any) -> str:
    assert isinstance(declared.info, Key)
    if value is None:
        return f"# {declared.attribute} ="
    if declared.info.is_secret:
        flag = f"; pass it by {declared.info.env}" if declared.info.env else ""
        return f"# {declared.attribute} is set, and not shown{flag}"
    return f"{declared.attribute} = {_toml(value)}"


def _ice_servers(servers: tuple[IceServer, ...]) -> list[str]:
    lines: list[str] = []
    for server in servers:
        lines += ["", "[[webrtc.ice_servers]]"]
        for each in declared_fields(IceServer):
            lines += [*_comment(_meaning(each)), _line(each, getattr(server, each.attribute))]
    return lines


def _meaning(declared: DeclaredField) -> str:
    info = declared.info
    return info.text + (f" One of {', '.join(info.choices)}." if info.choices else "")


def _doc(section: object) -> str:
    return str(type(section).__doc__)


def _comment(text: str) -> list[str]:
    return [f"# {' '.join(text.split())}"]


def _toml(value: Any) -> str:
    """A scalar or a list as TOML; its basic strings are JSON's but for DEL, which paths lack."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
