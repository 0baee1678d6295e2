"""A flash and a click through the real path: session, playout, tracks, codecs and network."""

import asyncio

import numpy as np
from avatar_client.events import OutputStarted, OutputStopped

from server.config import ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import TIMEOUT_S, client, serving

CLICK_MS, PERIOD_MS, CLICKS = 40, 400, 6
PART_SAMPLES = 96  # 2 ms


def clicks() -> bytes:
    sound = np.zeros(16 * PERIOD_MS * CLICKS, "<i2")
    for number in range(CLICKS):
        start = 16 * (PERIOD_MS * number + 200)
        sound[start : start + 16 * CLICK_MS] = 14_000
    return sound.tobytes()


def onsets(times: list[float], levels: list[float], threshold: float) -> np.ndarray:
    """When the level rises over the threshold."""
    above = np.array(levels) > threshold
    rises = np.flatnonzero(above[1:] & ~above[:-1]) + 1
    return np.array(times)[rises]


async def test_flash_and_click_stay_within_80_ms_of_each_other(character_root):
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        await talk.say(clicks())
        started = await talk.until(OutputStarted)
        await talk.until(OutputStopped)
        # Both tracks count from the first frame received, at 0 or later of the media's time.
        end_ms = started.media_time_ms + CLICKS * PERIOD_MS
        await talk.till(
            lambda: talk.video.pts[-1] / 90 > end_ms and talk.audio.pts[-1] / 48 > end_ms
        )
        async with asyncio.timeout(TIMEOUT_S):
            await talk.media.synchronised.wait()
    # The session is over: nothing arrives any more.
    seen_at = [talk.media.timestamp_us("video", pts) / 1e6 for pts in talk.video.pts]
    heard_at = [talk.media.timestamp_us("audio", pts) / 1e6 for pts in talk.audio.pts]
    flashes = onsets(seen_at, [float(frame.mean()) for frame in talk.video.frames], 130)
    times, levels = [], []
    for start, frame in zip(heard_at, talk.audio.frames, strict=True):
        loudest = np.abs(frame.astype(np.float32)).reshape(-1, 2 * PART_SAMPLES).max(axis=1)
        times += [start + number * PART_SAMPLES / 48_000 for number in range(len(loudest))]
        levels += [float(level) for level in loudest]
    heard = onsets(times, levels, 4000)
    assert len(flashes) == CLICKS
    offsets = [flash - heard[np.abs(heard - flash).argmin()] for flash in flashes]
    assert np.abs(offsets).max() <= 0.08
