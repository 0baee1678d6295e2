"""Addresses, keys and proxies as users write them."""

import pytest
from avatar_client.connection.address import (
    clean_key,
    http_url,
    is_loopback,
    key_headers,
    proxy_for,
    realtime_url,
    shown_url,
)
from avatar_client.errors import AvatarClientError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime?character=ana"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/realtime?character=ana"),
        ("https://a.example/avatars", "wss://a.example/avatars/v1/realtime?character=ana"),
        ("ws://h:1/v1/realtime?x=1", "ws://h:1/v1/realtime?x=1&character=ana"),
        ("http://[::1]:8080", "ws://[::1]:8080/v1/realtime?character=ana"),
        (" http://127.0.0.1:8080\n", "ws://127.0.0.1:8080/v1/realtime?character=ana"),
    ],
)
def test_any_way_to_write_the_address_works(url, expected):
    assert realtime_url(url, "ana") == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://",
        "",
        "//[",
        "http:///v1",
    ],
)
@pytest.mark.fault("relays")
def test_an_address_of_something_else_is_refused(url):
    """An address that no server can have is refused in a sentence."""
    with pytest.raises(AvatarClientError, match="not the address of an avatar server"):
        realtime_url(url, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1", "http://h:1/v1/characters"),
        ("wss://h/avatars/", "https://h/avatars/v1/characters"),
        ("ws://h:1/v1/realtime?x=1", "http://h:1/v1/characters"),
    ],
)
def test_the_http_api_lies_beside_the_socket(url, expected):
    assert http_url(url, "characters") == expected


def test_messages_show_no_password_and_no_query():
    assert shown_url("ws://me:secret@h:1/v1/realtime?key=abc") == "ws://h:1/v1/realtime"


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("key", ["abc\n", " abc", "abc\r\n"])
def test_white_space_around_a_key_is_no_part_of_it(key):
    """A key from a file, with its line end, is sent without it."""
    assert key_headers(key) == {"Authorization": "Bearer abc"}


@pytest.mark.parametrize("key", [None, "", " \n"])
def test_an_empty_key_is_none(key):
    assert clean_key(key) is None
    assert key_headers(key) == {}


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("key", ["schlüssel", "a b", "a\nb", "a\x7f", "\u200bkey", "a\ud800"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key):
    """A key that cannot be right is refused, and never printed."""
    with pytest.raises(AvatarClientError) as refusal:
        clean_key(key)
    assert refusal.value.code == "unauthorized"
    assert key not in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("::2", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.fault("relays")
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"])
def test_this_machine_is_never_reached_through_a_proxy(monkeypatch, variable, host):
    """With a proxy in the environment this machine is still reached directly."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")

    assert proxy_for(f"ws://{host}:8080/v1/realtime") is None
    assert proxy_for(f"wss://{host}:8080/v1/realtime") is None


@pytest.mark.parametrize("value", ["http://me:secret@proxy.example:3128", "proxy.example:3128"])
def test_other_machines_are_reached_through_the_proxy_that_the_environment_names(
    monkeypatch, value
):
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", value)
    found = proxy_for("ws://avatars.example:8080/v1/realtime")
    assert found is not None
    assert found.shown == "http://proxy.example:3128"

    monkeypatch.setenv("no_proxy", "avatars.example")
    assert proxy_for("ws://avatars.example:8080/v1/realtime") is None
