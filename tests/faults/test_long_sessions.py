"""Sessions of hours and of a day, on a virtual clock."""

import asyncio
import gc

import pytest

from server.protocol.server_events import OutputStarted, OutputStopped
from tests.support.serving.playing import Playing, is_loud, loud, playing
from tests.support.serving.virtual_clock import run_virtually

MS = 700
EVERY_S = 97


async def play(hours: float) -> tuple[Playing, int, int]:
    """Speak every 97 seconds for that long; objects after the first tenth, and at the end."""
    counts = []
    async with playing() as stage:
        for number in range(round(hours * 3600 / EVERY_S)):
            await asyncio.sleep(EVERY_S)
            stage.say("ana", loud(MS))
            stage.sent.clear()  # the test's own records
            stage.ticks.clear()
            if number == round(hours * 360 / EVERY_S):
                gc.collect()
                counts.append(len(gc.get_objects()))
        await asyncio.sleep(5)
        gc.collect()
        counts.append(len(gc.get_objects()))
    return stage, counts[0], counts[1]


def check(hours: float) -> None:
    stage, early, late = run_virtually(play(hours))
    said = round(hours * 3600 / EVERY_S)
    assert len(stage.of(OutputStarted)) == said
    assert [each.audio_end_ms for each in stage.of(OutputStopped)] == [MS] * said
    assert stage.paces == []
    assert any(is_loud(played) for _, played in stage.sent)
    # The events that the test keeps; a lane, its items and the generator keep nothing.
    assert late - early < 40 * said


@pytest.mark.slow
@pytest.mark.fault("idling")
def test_half_an_hour_with_speech_now_and_then():
    """A long session plays its last item like its first, and keeps nothing of what it played."""
    check(0.5)


@pytest.mark.nightly
@pytest.mark.fault("clocks")
def test_a_day_with_speech_now_and_then():
    """A session of a whole day stays in step, sound with picture, and does not grow."""
    check(24)
