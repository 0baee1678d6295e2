"""A process that records a stream of 25 pictures a second until somebody kills it.

python -m tests.support.recording_process FILE: prints how many milliseconds it was given so far.
"""

import asyncio
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from avatar_client.received_media import ReceivedFrame, ReceivedMedia
from avatar_client.recording import Recorder

SIDE = 256


def picture(index: int) -> av.VideoFrame:
    """Moving bars: something to encode."""
    columns = (np.arange(SIDE) + 3 * index) % 256
    pixels = np.broadcast_to(columns.astype(np.uint8)[None, :, None], (SIDE, SIDE, 3))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = frame.reformat(format="yuv420p")
    frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
    return frame


def sound(index: int) -> av.AudioFrame:
    packed = np.full((1, 1920), 1000, np.int16)
    frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * 960, Fraction(1, 48_000)
    return frame


async def main(path: Path) -> None:
    media = ReceivedMedia()
    recorder = Recorder(media, path, 25)
    for kind, rate in (("audio", 48_000), ("video", 90_000)):
        for n in range(100):
            media.clocks[kind].packet(n * rate // 50, round((100 + n / 50) * 1e6))
    media.synchronised.set()
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    index = 0
    while recorder.failure is None:
        for kind, frame in (
            ("audio", sound(2 * index)),
            ("audio", sound(2 * index + 1)),
            ("video", picture(index)),
        ):
            for tap in [*media._taps]:
                tap(ReceivedFrame(kind, frame, loop.time()))
        index += 1
        print(index * 40, flush=True)
        await asyncio.sleep(max(0.0, begun_s + index / 25 - loop.time()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
