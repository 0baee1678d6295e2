"""Speech as bytes of any cut and rate, turned into messages of whole samples at one rate."""

from collections.abc import AsyncIterable, AsyncIterator

import av
import numpy as np

MAX_MESSAGE_S = 1.0
BYTES_PER_SAMPLE = 2  # mono PCM16


async def pcm_messages(
    speech: bytes | AsyncIterable[bytes],
    rate: int,
    wanted_rate: int,
    longest_s: float = MAX_MESSAGE_S,
) -> AsyncIterator[bytes]:
    """Whole samples at `wanted_rate` Hz, at most `longest_s` seconds in one message.

    The cut of the incoming bytes does not change the samples, not even inside one sample.
    """
    resampler = None if rate == wanted_rate else av.AudioResampler("s16", "mono", wanted_rate)
    most = int(wanted_rate * longest_s) * BYTES_PER_SAMPLE
    odd = b""
    async for chunk in _chunks(speech):
        received = odd + chunk
        whole = len(received) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
        pcm, odd = received[:whole], received[whole:]
        if resampler is not None:
            pcm = _resampled(resampler, pcm, rate)
        for start in range(0, len(pcm), most):
            yield pcm[start : start + most]
    if resampler is not None and (rest := _resampled(resampler, None, rate)):
        yield rest


async def _chunks(speech: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(speech, bytes | bytearray | memoryview):
        yield bytes(speech)
        return
    async for chunk in speech:
        yield chunk


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
