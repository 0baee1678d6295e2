"""The configuration's table `[listen]`, and its checks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from server.config_key import ConfigError, Key
from server.protocol.origins import is_loopback, parsed_origin

SHIPPED = Path(__file__).parent.parent / "client_demo"
"""The web page and the samples that come with the server."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server listens, and which requests it answers."""

    host: Annotated[
        str,
        Key(
            "Address to listen on. Any but a loopback address needs `api_key`.",
            flag="--host",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Key("Port to listen on; 0 takes a free one.", low=0, high=65_535, flag="--port")
    ] = 8080
    api_key: Annotated[
        str | None,
        Key(
            "Key that requests must show. Without one, only this machine is served.",
            min_chars=16,
            remedy="Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            flag="--api-key",
            env="AVATAR_API_KEY",
            is_secret=True,
        ),
    ] = field(default=None, repr=False)
    api_key_file: Annotated[
        Path | None,
        Key(
            "File that holds the key, in place of `api_key`. Space around the key is left out.",
            flag="--api-key-file",
            env="AVATAR_API_KEY_FILE",
        ),
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        Key(
            "Other web sites whose pages may use this server, as `https://app.example`.",
            flag="--allowed-origin",
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Key(
            "Addresses or networks of proxies in front of this server. The client's address is "
            "then the last one of `X-Forwarded-For` that is none of them."
        ),
    ] = ("127.0.0.1", "::1")
    web_dir: Annotated[
        Path,
        Key(
            "Folder of the web page, served without the key. If it holds `files.json`, a list of "
            "names, only those files are served.",
            default_text="the page that comes with the server",
        ),
    ] = SHIPPED / "web"
    samples_dir: Annotated[
        Path,
        Key(
            "Folder of the page's sound files, served without the key: `samples.json` and the "
            "files that it names.",
            default_text="the samples that come with the server",
        ),
    ] = SHIPPED / "samples"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return self.host == "localhost" or is_loopback(self.host)

    @property
    def browser_origins(self) -> tuple[str, ...]:
        """`allowed_origins` as browsers write them: lower case, without usual ports."""
        return tuple(str(parsed_origin(each)) for each in self.allowed_origins)


def check_listen(listen: Listen) -> None:
    """Refuse keys that no client could send, and origins that no browser would."""
    if listen.api_key_file is not None and listen.api_key is None:
        raise ConfigError(
            "listen.api_key_file was not read. Load the configuration with load_config, or pass "
            "the key as listen.api_key."
        )
    odd = next((n for n, each in enumerate(listen.api_key or "", 1) if not "!" <= each <= "~"), 0)
    if odd:
        raise ConfigError(
            f"listen.api_key has a space, a control character or a letter beyond ASCII at place "
            f"{odd}, which HTTP cannot carry. Make a key of plain characters: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    for number, origin in enumerate(listen.allowed_origins):
        if parsed_origin(origin) is None:
            raise ConfigError(
                f"listen.allowed_origins.{number} is {origin!r}, but must be a scheme and a host, "
                "with a port if need be and without a path, such as https://app.example."
            )
    for name in ("web_dir", "samples_dir"):
        folder = getattr(listen, name)
        if not folder.is_dir():
            raise ConfigError(f"listen.{name}: there is no folder {folder}. Name one that exists.")
    if listen.api_key is None and not listen.is_loopback:
        raise ConfigError(
            f"listen.host is {listen.host}, which other machines can reach, but there is "
            "no listen.api_key. Set a key, or listen on 127.0.0.1."
        )
