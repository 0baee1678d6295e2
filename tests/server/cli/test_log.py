import logging
import sys

import pytest

from server.cli.log import LogFormatter, secrets_of, uvicorn_level
from server.config import IceServer, Listen, ServerConfig, Webrtc

KEY = "a-key-of-24-characters-0"


def written(message: str, *arguments: object, exc_info=None) -> str:
    record = logging.LogRecord("x", logging.DEBUG, "", 0, message, arguments, exc_info)
    return LogFormatter([KEY, "turn-secret"]).format(record)


SAID = [
    f"the key is {KEY}, it stands anywhere",
    "< authorization: Bearer abc.def-1",
    "> Sec-WebSocket-Protocol: avatar.v1, avatar.secret.s3cr3t",
    "GET /v1/realtime?api_key=abc&x=1",
    '{"type": "session.created", "resume_secret": "abc"}',
    "headers: [(b'authorization', b'Basic abc'), (b'cookie', b'abc')]",
    "Headers({'authorization': 'Bearer abc'})",
    "credential=abc, password: abc",
    "setLocalDescription(answer)\r\na=ice-ufrag:1\r\na=ice-pwd:abc\r\n",
]


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("message", SAID)
def test_secrets_are_hidden_in_whatever_form(message):
    """The log hides keys, client secrets, resume secrets and TURN credentials in every form."""
    shown = written("%s", message)
    assert "[hidden]" in shown
    assert not any(each in shown for each in (KEY, "abc", "s3cr3t"))


def test_ordinary_lines_stay_as_they_are():
    message = "session sess_1 opened with mira: 3 secrets of 127.0.0.1, keys: none"
    assert written(message).endswith(message)


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("sign", ["\n", "\r\n", "\x1b[2J", "\x85", "\u2028", "\x00"])
def test_no_text_of_a_client_begins_a_line_of_its_own(sign):
    """Nothing that a client sends begins a line of its own in the log."""
    forged = f"x{sign}2026-01-01 00:00:00,000 ERROR root: forged"
    assert len(written("name %s", forged).splitlines()) == 1
    try:
        raise ValueError(forged)
    except ValueError:
        shown = written("failed", exc_info=sys.exc_info())
    assert len(shown.splitlines()) > 2
    assert all(line.startswith("  ") for line in shown.splitlines()[1:])
    assert "\x1b" not in shown


def test_every_secret_of_the_configuration_is_known():
    servers = (IceServer(("turn:t",), secret="s"), IceServer(("turn:t",), "u", "c"))
    config = ServerConfig(Listen(api_key=KEY), webrtc=Webrtc(ice_servers=servers))
    assert secrets_of(config) == [KEY, "s", "c"]


def test_the_libraries_that_write_headers_stop_at_info():
    assert [uvicorn_level(each) for each in ("debug", "info", "error")] == ["info", "info", "error"]
