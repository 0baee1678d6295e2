"""Addresses, and errors of a connection."""

import socket

import pytest
from avatar_client.client import AvatarClient
from avatar_client.connection.address import realtime_url
from avatar_client.errors import AvatarClientError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime?character=ana"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/realtime?character=ana"),
        ("https://a.example/avatars", "wss://a.example/avatars/v1/realtime?character=ana"),
        ("ws://h:1/v1/realtime?x=1", "ws://h:1/v1/realtime?x=1&character=ana"),
    ],
)
def test_any_way_to_write_the_address_works(url, expected):
    assert realtime_url(url, "ana") == expected


def test_an_address_of_something_else_is_refused():
    with pytest.raises(AvatarClientError, match="not the address of an avatar server"):
        realtime_url("ftp://a.example", None)


async def test_the_error_without_a_server_names_the_command_that_starts_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(AvatarClientError, match="avatar serve"):
        await AvatarClient.connect(f"http://127.0.0.1:{port}", "ana")
