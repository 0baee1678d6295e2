"""What `connect` and `speak` refuse before they send anything, and errors of a connection."""

import socket

import numpy as np
import pytest
from avatar_client.client import SETTINGS, AvatarClient
from avatar_client.errors import AvatarClientError


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_the_error_without_a_server_names_the_command_that_starts_one():
    with pytest.raises(AvatarClientError, match="avatar serve"):
        await AvatarClient.connect(f"http://127.0.0.1:{free_port()}", "ana")


@pytest.mark.fault("messages")
@pytest.mark.parametrize("name", ["presett", "event_id", "rates", "api_keys"])
async def test_a_setting_that_there_is_not_is_refused(name):
    """A misspelt setting of `connect` is refused, not ignored."""
    with pytest.raises(AvatarClientError, match=f"no setting '{name}'. Use: .*preset") as refusal:
        await AvatarClient.connect(f"http://127.0.0.1:{free_port()}", "ana", **{name: "x"})
    assert refusal.value.code == "invalid_field"


def test_the_settings_are_those_of_the_protocol():
    assert {"character", "preset", "prompt", "seed", "video"} <= set(SETTINGS)


@pytest.mark.fault("rates")
@pytest.mark.parametrize(
    "rate", [0, -1, 0.5, 24_000.5, float("nan"), float("inf"), True, "24000", None, 10**12]
)
async def test_a_rate_that_is_none_is_refused_before_anything_is_sent(rate):
    """A sample rate that is no whole number of Hz is refused in a sentence."""
    with pytest.raises(AvatarClientError, match=r"sample rate .* whole number of Hz") as refusal:
        await AvatarClient.connect(f"http://127.0.0.1:{free_port()}", rate=rate)
    assert refusal.value.code == "unsupported_rate"


@pytest.mark.fault("rates")
@pytest.mark.parametrize("rate", [24_000.0, np.int64(24_000), np.float32(24_000)])
async def test_a_whole_rate_is_taken_whatever_its_type(rate):
    """A rate of 24000.0 is 24000."""
    with pytest.raises(AvatarClientError, match="avatar serve"):  # it gets as far as connecting
        await AvatarClient.connect(f"http://127.0.0.1:{free_port()}", rate=rate)
