"""What the client sends, and what it says when nobody answers."""

import socket

import numpy as np
import pytest
from avatar_client.client import AvatarClient, _messages
from avatar_client.session_socket import AvatarClientError, realtime_url

from client_demo.cli import parse_line


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
    with pytest.raises(AvatarClientError, match="no address of an avatar server"):
        realtime_url("ftp://a.example", None)


async def collect(speech, rate: int, wanted: int) -> bytes:
    return b"".join([chunk async for chunk in _messages(speech, rate, wanted)])


async def cut(pcm: bytes, size: int):
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


@pytest.mark.parametrize("size", [1, 3, 640, 100_000])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
async def test_the_cut_of_the_bytes_does_not_matter(rate, size):
    pcm = np.random.default_rng(5).integers(-9000, 9000, 9_000, np.int16).tobytes()

    whole = await collect(pcm, rate, 24_000)

    assert await collect(cut(pcm, size), rate, 24_000) == whole
    assert abs(len(whole) / 2 - 9_000 * 24_000 / rate) <= 40


async def test_long_speech_is_sent_in_messages_of_a_second_at_most():
    sizes = [len(chunk) async for chunk in _messages(bytes(24_000 * 2 * 3 + 2), 24_000, 24_000)]

    assert sizes == [48_000, 48_000, 48_000, 2]


async def test_no_server_is_told_with_what_to_do():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(AvatarClientError, match="avatar serve"):
        await AvatarClient.connect(f"http://127.0.0.1:{port}", "ana")


def test_a_speaker_is_named_before_its_file(tmp_path):
    odd = tmp_path / "a=b.wav"
    odd.touch()

    assert parse_line("ana=talk.wav")[0] == "ana"
    assert parse_line("talk.wav")[0] is None
    assert parse_line(str(odd)) == (None, odd)
