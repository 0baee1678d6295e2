"""How a configuration key is declared, and the error of one that cannot be used."""

from dataclasses import dataclass

from server.field_info import Info


class ConfigError(ValueError):
    """A configuration that cannot be used; the message starts with the key's path."""


@dataclass(frozen=True, slots=True)
class Key(Info):
    """What is declared of a configuration key.

    `flag` is the option of `avatar serve` that sets it, `env` an environment variable that does.
    `default_text` describes a default that differs from machine to machine.
    """

    flag: str = ""
    env: str = ""
    default_text: str = ""
    is_secret: bool = False
