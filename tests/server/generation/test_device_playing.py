"""Speech to slices on a virtual clock where a device makes the pictures: ticks overlap."""

import asyncio

import numpy as np
import pytest

from server.generation.tick_scheduler import TickTimes
from server.protocol.server_events import AvatarState, OutputStopped
from tests.support.serving.playing import is_loud, is_white, loud, playing
from tests.support.serving.virtual_clock import run_virtually

ASKING_S = 0.02  # a tick's work is queued; 160 ms of video


def on_a_device(device_ms: int, *names: str):
    return playing(*names, cost_s=lambda: ASKING_S, device_s=device_ms / 1000)


@pytest.mark.parametrize("device_ms", [50, 150])
def test_idling_on_a_device_never_runs_dry(device_ms: int) -> None:
    async def story():
        async with on_a_device(device_ms) as stage:
            await asyncio.sleep(10)
        return stage

    stage = run_virtually(story())
    assert stage.held_slots == 0
    frames = [played.frame for _, played in stage.sent]
    assert frames == list(range(len(frames)))


def test_the_next_tick_is_asked_for_while_the_device_works() -> None:
    """20 + 150 ms a tick one after the other would be too slow for 160 ms of video."""

    async def story():
        async with on_a_device(150) as stage:
            stage.say("ana", loud(10_000))
            await asyncio.sleep(14)
        return stage

    stage = run_virtually(story())
    assert stage.heard_ms() == pytest.approx(10_000, abs=0.1)
    assert stage.held_slots == 0
    assert stage.of(OutputStopped)[0].audio_end_ms == 10_000
    assert [e.state for e in stage.of(AvatarState)] == ["speaking", "idle"]
    assert all(is_white(played) == is_loud(played) for _, played in stage.sent)


@pytest.mark.parametrize("device_ms", [30, 100])
def test_an_interruption_drops_what_is_still_coming(device_ms: int) -> None:
    async def story(at: float):
        async with on_a_device(device_ms) as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(10_000))
            await asyncio.sleep(at)
            clear = asyncio.get_running_loop().time()
            stage.interrupt("ana")
            await asyncio.sleep(1)
            stage.say("ana", loud(500))
            await asyncio.sleep(2)
        after = [(due - clear, played) for due, played in stage.sent if due > clear]
        sound = max((due for due, played in after if due < 1 and is_loud(played)), default=0.0)
        mouth = max((due for due, played in after if due < 1 and is_white(played)), default=0.0)
        assert sum(is_loud(played) for due, played in after if due > 1) >= 12
        frames = [played.frame for _, played in stage.sent if played.frame is not None]
        assert frames == list(range(len(frames)))
        return sound, mouth

    stories = [run_virtually(story(1.5 + 0.043 * k)) for k in range(8)]
    assert max(sound for sound, _ in stories) <= 0.04
    assert np.percentile([mouth for _, mouth in stories], 95) <= 0.35


def test_a_tick_may_be_guessed_to_take_as_long_as_it_plays() -> None:
    times = TickTimes()
    times.add(1.0, 1.0, frames=28)
    assert times.guess_s == 1.0
    times.add(3.0, 3.0, frames=28)
    assert times.guess_s == pytest.approx(28 / 25)
    small = TickTimes()
    small.add(1.0, 1.0, frames=4)
    assert small.guess_s == 0.6
