import pytest

from server.origins import Host, is_loopback, parsed_host, parsed_origin


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost:8080", Host("localhost", 8080)),
        ("App.Example.", Host("app.example", None)),
        ("avatar_server:80", Host("avatar_server", 80)),
        ("[::1]:8080", Host("::1", 8080)),
        ("[0:0:0:0:0:0:0:1]", Host("::1", None)),
    ],
)
def test_a_host_is_read(text, host):
    assert parsed_host(text) == host


MALFORMED = ["[", "[::1", "::1", "a b", "a:b", "a:70000", "a:0", "[zz]", "[1.2.3.4]", "a@b", "a/b"]


@pytest.mark.parametrize("text", ["", ".", "é", "a\n", "a\x00", "a" * 300, "[::1]x", *MALFORMED])
def test_what_is_no_host_is_none(text):
    assert parsed_host(text) is None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://App.example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_do(text, written):
    assert str(parsed_origin(text)) == written


@pytest.mark.parametrize(
    "text", ["null", "*", "", "https://", "https://a/", "https://[", "//a", "a", "https://a?b"]
)
def test_what_is_no_origin_is_none(text):
    assert parsed_origin(text) is None


@pytest.mark.parametrize("scheme", ["file", "chrome-extension"])
def test_only_pages_of_the_web_are_served_at_a_host(scheme):
    assert not parsed_origin(f"{scheme}://localhost:8080").is_served_at(Host("localhost", 8080))


@pytest.mark.parametrize(
    ("address", "expected"), [("127.9.9.9", True), ("::1", True), ("::", False), ("x", False)]
)
def test_loopback_addresses_are_known(address, expected):
    assert is_loopback(address) is expected
