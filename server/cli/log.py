"""The log of `avatar serve`: one line a record, without secrets and without forged lines."""

import logging
import re
import sys
from collections.abc import Iterable

from server.config import ServerConfig, keys
from server.field_info import declared_fields

LEVELS = ("debug", "info", "warning", "error")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
HIDDEN = "[hidden]"
SHORTEST_SECRET = 4
"""Shorter ones would hide half of the log, and are none."""

# Secrets of whatever value: tokens, our subprotocol, ICE passwords of SDP, headers, and fields of
# JSON and of queries.
_TOKENS = re.compile(r"(?i)(bearer\s+|avatar\.secret\.|ice-pwd:)[^\s,;'\"\\]+")
_HEADERS = re.compile(
    r"(?i)\b((?:proxy-)?authorization|sec-websocket-protocol|cookie|x-api-key)"
    r"(\\?['\"]?\s*[:,=]\s*b?\\?['\"]?)[^'\"\n]+"
)
_FIELDS = re.compile(
    r"(?i)([\w-]*(?:api_?key|secret|token|password|credential)[\w-]*)"
    r"(\\?['\"]?\s*[:=]\s*\\?['\"]?)[^\s'\"\\&,;)}\]]+"
)
# C0 and C1 controls, and the separators that some viewers take for line ends.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LogFormatter(logging.Formatter):
    """Formats records so that a client can neither read secrets from the log nor write lines in it.

    `secrets` are values to hide wherever they stand. Tracebacks keep their lines, indented.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__(FORMAT)
        self._secrets = sorted({each for each in secrets if len(each) >= SHORTEST_SECRET}, key=len)

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        lines = [escaped(self._redacted(self.formatMessage(record)))]
        for text in (self._traceback(record), record.stack_info):
            for line in (text or "").split("\n"):
                lines += [f"  {escaped(self._redacted(line))}"] if line else []
        return "\n".join(lines)

    def _traceback(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""

    def _redacted(self, text: str) -> str:
        for secret in reversed(self._secrets):
            text = text.replace(secret, HIDDEN)
        text = _TOKENS.sub(rf"\1{HIDDEN}", text)
        text = _HEADERS.sub(rf"\1\2{HIDDEN}", text)
        return _FIELDS.sub(rf"\1\2{HIDDEN}", text)


def set_up_log(level: str, config: ServerConfig) -> None:
    """Write the log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(secrets_of(config)))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def uvicorn_level(level: str) -> str:
    """The level of uvicorn's log, info at most: at debug, the WebSocket library writes
    headers and messages, which hold secrets.
    """
    return "info" if level == "debug" else level


def secrets_of(config: ServerConfig) -> list[str]:
    """Every value of the configuration that is declared to be secret."""
    found = [value for _, each, value in keys(config) if getattr(each.info, "is_secret", False)]
    for server in config.webrtc.ice_servers:
        for each in declared_fields(type(server)):
            if getattr(each.info, "is_secret", False):
                found.append(getattr(server, each.attribute))
    return [str(each) for each in found if each]


def escaped(text: str) -> str:
    """`text` on one line: control characters as escapes."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
