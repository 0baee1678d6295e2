"""Speech of any cut and rate becomes messages of whole samples."""

import numpy as np
import pytest
from avatar_client.pcm_messages import pcm_messages


async def collect(speech, rate: int, wanted_rate: int) -> bytes:
    return b"".join([chunk async for chunk in pcm_messages(speech, rate, wanted_rate)])


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
    sizes = [len(chunk) async for chunk in pcm_messages(bytes(24_000 * 2 * 3 + 2), 24_000, 24_000)]

    assert sizes == [48_000, 48_000, 48_000, 2]
