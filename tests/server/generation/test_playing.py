"""Speech to slices on a virtual clock: pacing, lockstep, interruption, accounting."""

import asyncio
import itertools
import random

import numpy as np
import pytest

from server.playout import Pace
from server.protocol.server_events import (
    AvatarState,
    InputCommitted,
    OutputCleared,
    OutputStarted,
    OutputStopped,
)
from tests.support.serving.playing import is_loud, is_white, loud, playing
from tests.support.serving.virtual_clock import run_virtually


def test_speech_is_played_to_its_end_and_tells_so_once():
    async def story():
        async with playing() as stage:
            await asyncio.sleep(2)
            stage.say("ana", loud(1230))
            await asyncio.sleep(3)
            return stage

    stage = run_virtually(story())
    (started,), (stopped,) = stage.of(OutputStarted), stage.of(OutputStopped)
    assert stopped.audio_end_ms == 1230
    assert started.item_id == stopped.item_id
    assert stage.heard_ms() == pytest.approx(1230, abs=0.1)
    assert [e.state for e in stage.of(AvatarState)] == ["speaking", "idle"]


def test_new_speech_after_idling_is_heard_within_600_ms():
    async def story(at: float):
        async with playing() as stage:
            await asyncio.sleep(at)
            stage.say("ana", loud(500))
            await asyncio.sleep(1)
            first = next(due for due, played in stage.sent if is_loud(played))
            return first - at

    waits = [run_virtually(story(5 + 0.037 * k)) for k in range(6)]
    assert max(waits) < 0.6


@pytest.mark.parametrize("cost_ms", [20, 150])
def test_idling_never_runs_dry_and_stays_a_little_ahead(cost_ms):
    async def story():
        leads = []
        async with playing(cost_s=lambda: cost_ms / 1000) as stage:
            await asyncio.sleep(2)
            for _ in range(200):
                await asyncio.sleep(0.04)
                leads.append(stage.playout.lead_frames)
        return stage, leads

    stage, leads = run_virtually(story())
    assert stage.held_slots == 0
    assert max(leads) <= 4 + (cost_ms + 60) / 40 + 1


@pytest.mark.fault("pace")
def test_the_lead_is_bounded_while_much_speech_waits():
    """Speech that comes faster than it is spoken waits; generation runs ahead by a bounded lead."""

    async def story():
        async with playing(cost_s=lambda: 0.02) as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(12_000))
            leads = []
            for _ in range(10):
                await asyncio.sleep(0.5)
                leads.append(stage.playout.lead_frames)
        return leads

    assert max(run_virtually(story())) <= 25 + 4


@pytest.mark.fault("slow-model")
def test_slots_are_due_at_one_start_plus_their_number_however_late_the_generator_is():
    """Lateness never adds up: each picture is due at a fixed time after the start."""

    async def story():
        costs = itertools.cycle([0.05] * 50 + [0.9])
        async with playing(cost_s=lambda: next(costs)) as stage:
            for number in range(4):
                stage.say("ana", loud(10_000), f"item {number}")
                await asyncio.sleep(15)
        return stage

    stage = run_virtually(story())
    start = stage.sent[0][0]
    late = [abs(due - start - 0.04 * played.slot) for due, played in stage.sent]
    assert max(late) < 1e-6
    assert len(stage.sent) == pytest.approx(60 * 25, abs=25)
    assert len(stage.of(OutputStopped)) == 4


@pytest.mark.fault("slow-model")
def test_a_late_generator_repeats_the_picture_holds_the_sound_and_loses_none():
    """A model slower than real time repeats the picture, holds the sound and loses none."""

    async def story():
        costs = itertools.chain([0.05] * 30, [1.2], itertools.repeat(0.05))
        async with playing(cost_s=lambda: next(costs)) as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(8000))
            await asyncio.sleep(12)
        return stage

    stage = run_virtually(story())
    held = [played for _, played in stage.sent if played.frame is None]
    assert held
    assert not any(is_loud(played) for played in held)
    assert stage.paces == [Pace.DEGRADED, Pace.ON_TIME]
    assert stage.heard_ms() == pytest.approx(8000, abs=0.1)
    frames = [played.frame for _, played in stage.sent if played.frame is not None]
    assert frames == list(range(len(frames)))


@pytest.mark.fault("slow-model")
def test_picture_and_sound_leave_in_lockstep_however_late_the_generator_is():
    """Picture and sound stay together however late the model is."""

    async def story(seed: int):
        rng = random.Random(seed)
        async with playing(cost_s=lambda: rng.choice([0.01, 0.05, 0.3])) as stage:
            for _ in range(12):
                stage.say("ana", loud(rng.randint(20, 900)))
                await asyncio.sleep(rng.random())
            await asyncio.sleep(20)
        return stage

    for seed in range(2):
        for _, played in run_virtually(story(seed)).sent:
            assert played.frame is None or is_white(played) == is_loud(played)


@pytest.mark.fault("pace")
def test_speech_slower_than_real_time_loses_nothing_and_does_not_flap():
    """Speech slower than real time loses nothing, and the state does not flap."""

    async def story():
        async with playing() as stage:
            await asyncio.sleep(1)
            for _ in range(50):
                stage.say("ana", loud(40), commit=False)
                await asyncio.sleep(0.08)
            stage.commit("ana")
            await asyncio.sleep(3)
        return stage

    stage = run_virtually(story())
    assert stage.heard_ms() == pytest.approx(2000, abs=0.1)
    assert [e.state for e in stage.of(AvatarState)] == ["speaking", "idle"]
    assert stage.of(OutputStopped)[0].audio_end_ms == 2000
    assert stage.paces == []


@pytest.mark.fault("pace")
def test_speech_at_real_time_in_small_pieces_has_no_holes_inside():
    """Speech at real time in small pieces is played without holes."""

    async def story():
        async with playing() as stage:
            await asyncio.sleep(1)
            for _ in range(150):
                stage.say("ana", loud(20), commit=False)
                await asyncio.sleep(0.02)
            stage.commit("ana")
            await asyncio.sleep(2)
        return stage

    stage = run_virtually(story())
    sound = np.concatenate([played.sound for _, played in stage.sent])
    spoken = np.flatnonzero(np.abs(sound) > 8000)
    assert len(spoken) == 3000 * 48
    assert spoken[-1] - spoken[0] + 1 == 3000 * 48


@pytest.mark.parametrize("cost_ms", [30, 80, 120])
def test_an_interruption_stops_sound_at_once_and_the_mouth_within_300_ms(cost_ms):
    async def story(at: float):
        async with playing(cost_s=lambda: cost_ms / 1000) as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(10_000))
            await asyncio.sleep(at)
            clear = asyncio.get_running_loop().time()
            stage.interrupt("ana")
            await asyncio.sleep(3)
        after = [(due - clear, played) for due, played in stage.sent if due > clear]
        sound = max((due for due, played in after if is_loud(played)), default=0.0)
        mouth = max((due for due, played in after if is_white(played)), default=0.0)
        return sound, mouth

    stories = [run_virtually(story(1.5 + 0.043 * k)) for k in range(8)]
    assert max(sound for sound, _ in stories) <= 0.04
    assert np.percentile([mouth for _, mouth in stories], 95) <= 0.3


@pytest.mark.fault("turns")
def test_what_was_really_played_is_told_when_an_item_is_cut():
    """An interruption tells how much of each item was really played."""

    async def story():
        async with playing() as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(5000), "a")
            stage.say("ana", loud(5000), "b")
            await asyncio.sleep(2)
            stage.interrupt("ana")
            await asyncio.sleep(1)
        return stage

    stage = run_virtually(story())
    first, second = stage.of(OutputCleared)
    assert first.audio_end_ms == pytest.approx(stage.heard_ms(), abs=5)
    assert (second.item_id, second.audio_end_ms) == ("b", 0)
    assert len(stage.of(OutputStarted)) == 1


@pytest.mark.fault("turns")
def test_an_interruption_before_the_first_frame_works():
    """An interruption before the first frame works."""

    async def story():
        async with playing() as stage:
            stage.say("ana", loud(1000))
            stage.interrupt("ana")
            await asyncio.sleep(2)
        return stage

    stage = run_virtually(story())
    assert [e.audio_end_ms for e in stage.of(OutputCleared)] == [0]
    assert stage.heard_ms() == 0
    assert stage.of(AvatarState) == []


@pytest.mark.fault("turns")
def test_twenty_interruptions_in_two_seconds_leave_a_stream_that_plays_on():
    """Twenty interruptions in two seconds leave a stream that plays on."""

    async def story():
        async with playing(cost_s=lambda: 0.08) as stage:
            await asyncio.sleep(1)
            for _ in range(20):
                stage.say("ana", loud(1000), commit=False)
                await asyncio.sleep(0.1)
                stage.interrupt("ana")
            stage.say("ana", loud(700))
            await asyncio.sleep(3)
        return stage

    stage = run_virtually(story())
    assert len(stage.of(OutputCleared)) == 20
    assert [e.audio_end_ms for e in stage.of(OutputStopped)] == [700]


def test_another_speaker_goes_on_without_a_hole_when_one_is_cut():
    async def story(at: float):
        async with playing("ana", "ben", cost_s=lambda: 0.08) as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(6000))
            stage.say("ben", loud(4000))
            await asyncio.sleep(at)
            stage.interrupt("ana")
            await asyncio.sleep(5)
        return stage

    for k in range(4):
        stage = run_virtually(story(1 + 0.02 * k))
        assert [(e.speaker, e.audio_end_ms) for e in stage.of(OutputStopped)] == [("ben", 4000)]
        assert stage.held_slots == 0


def test_two_speakers_speak_side_by_side_on_one_timeline():
    async def story():
        async with playing("ana", "ben") as stage:
            await asyncio.sleep(1)
            stage.say("ana", loud(2000))
            await asyncio.sleep(0.5)
            stage.say("ben", loud(2000))
            await asyncio.sleep(4)
        return stage

    stage = run_virtually(story())
    starts = {e.speaker: e.media_time_ms for e in stage.of(OutputStarted)}
    ends = [e.speaker for e in stage.of(OutputStopped)]
    assert starts["ana"] < starts["ben"] < starts["ana"] + 2000
    assert ends == ["ana", "ben"]


@pytest.mark.fault("turns")
@pytest.mark.parametrize("seed", range(4))
def test_each_item_ends_exactly_once_and_in_order_whatever_happens(seed):
    """Each item ends exactly once and in order, whatever the client does."""
    rng = random.Random(seed)

    async def story():
        opened = {"ana": [], "ben": []}
        async with playing("ana", "ben", cost_s=lambda: rng.choice([0.02, 0.1, 0.3])) as stage:
            for number in range(40):
                speaker = rng.choice(["ana", "ben"])
                item = f"{speaker} {number}"
                match rng.randrange(6):
                    case 0 | 1 | 2:
                        data = loud(rng.choice([0, 1, 30, 400, 2000]))
                        stage.say(speaker, data, item, commit=rng.random() < 0.7)
                        opened[speaker].append(item)
                    case 3:
                        stage.interrupt(*rng.choice([("ana",), ("ben",), ("ana", "ben")]))
                    case 4:
                        stage.lanes[speaker].clear_input()
                    case 5:
                        stage.say(speaker, loud(100), commit=False)
                        stage.commit(speaker)
                await asyncio.sleep(rng.choice([0, 0.01, 0.3]))
            for speaker, lane in stage.lanes.items():
                if lane.has_open_item:
                    stage.commit(speaker)
            await asyncio.sleep(40)
        return stage, opened

    stage, opened = run_virtually(story())
    for speaker, items in opened.items():
        ended = [
            event.item_id
            for _, event in stage.events
            if isinstance(event, OutputStopped | OutputCleared)
            and event.speaker == speaker
            and not event.item_id.startswith("item_")
        ]
        assert ended == items
    assert all(not lane.queued_samples for lane in stage.lanes.values())
    committed = [e.item_id for e in stage.of(InputCommitted)]
    assert len(committed) == len(set(committed))


@pytest.mark.fault("clocks")
def test_a_suspended_machine_goes_on_without_a_burst():
    """A suspended machine goes on without a burst of what it missed."""

    async def story():
        async with playing() as stage:
            await asyncio.sleep(2)
            asyncio.get_running_loop().advance(60)
            before = len(stage.sent)
            await asyncio.sleep(1)
            return len(stage.sent) - before

    assert run_virtually(story()) < 40
