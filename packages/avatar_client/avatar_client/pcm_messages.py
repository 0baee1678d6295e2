"""Speech as bytes of any cut and rate, turned into messages of whole samples at one rate."""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import av
import numpy as np

from avatar_client.errors import AvatarClientError

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz; of speech that is resampled here
MAX_MESSAGE_S = 1.0
BYTES_PER_SAMPLE = 2  # mono PCM16


async def pcm_messages(
    speech: bytes | AsyncIterable[bytes],
    rate: int,
    wanted_rate: int,
    longest_s: float = MAX_MESSAGE_S,
) -> AsyncGenerator[bytes, None]:
    """Whole samples at `wanted_rate` Hz, at most `longest_s` seconds in one message.

    The cut of the incoming bytes does not change the samples, not even inside one sample. A source
    that is a generator is closed at the end, early or not.
    """
    resampler = None if rate == wanted_rate else av.AudioResampler("s16", "mono", wanted_rate)
    most = int(wanted_rate * longest_s) * BYTES_PER_SAMPLE
    odd = b""
    chunks = _chunks(speech)
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            received = odd + chunk
            whole = len(received) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
            pcm, odd = received[:whole], received[whole:]
            if resampler is not None:
                pcm = _resampled(resampler, pcm, rate)
            for start in range(0, len(pcm), most):
                yield pcm[start : start + most]
    if resampler is not None and (rest := _resampled(resampler, None, rate)):
        yield rest


def whole_rate(rate: Any) -> int:
    """`rate` in Hz as a whole number, also from 24000.0. AvatarClientError."""
    try:
        is_rate = not isinstance(rate, bool) and math.isfinite(rate) and rate == int(rate)
    except (TypeError, ValueError):
        is_rate = False
    if not is_rate or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AvatarClientError(
            f"The sample rate is {rate!r}, and must be a whole number of Hz, such as 24000.",
            "unsupported_rate",
        )
    return int(rate)


async def _chunks(speech: bytes | AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    if not isinstance(speech, AsyncIterable):
        yield _pcm_bytes(speech)
        return
    source = speech
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(source, AsyncGenerator):
            await stack.enter_async_context(contextlib.aclosing(source))
        async for chunk in source:
            yield _pcm_bytes(chunk)


def _pcm_bytes(chunk: Any) -> bytes:
    """The bytes of a chunk; numpy arrays of int16 have them too. AvatarClientError."""
    try:
        view = memoryview(chunk)
    except TypeError:
        view = None
    if view is None or view.format not in ("B", "b", "c", "h", "<h"):
        found = type(chunk).__name__ if view is None else f"numbers of format {view.format!r}"
        raise AvatarClientError(
            f"Speech came as {found}. Give mono PCM16: bytes, or an async iterator of bytes.",
            "invalid_field",
        )
    return view.tobytes()


def _resampled(resampler: av.AudioResampler, pcm: bytes | None, rate: int) -> bytes:
    """PCM16 at the resampler's rate; None flushes what the resampler holds."""
    frame = None
    if pcm is not None:
        if not pcm:
            return b""
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
    return b"".join(part.to_ndarray().astype("<i2").tobytes() for part in resampler.resample(frame))
