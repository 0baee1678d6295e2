"""Two speakers, hundreds of random calls, a virtual clock: what must hold whatever happens."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

from server.protocol.server_events import (
    AvatarState,
    InputCommitted,
    OutputCleared,
    OutputStarted,
    OutputStopped,
)
from server.speech.pcm import PcmFormat
from server.speech.resampling import POOLED_STREAMS
from tests.support.serving.playing import Playing, playing
from tests.support.serving.virtual_clock import run_virtually

SPEAKERS = ("ana", "ben")
RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 44_099, 44_100, 48_000)
LEVEL = 16_384
CALLS = 80


@dataclass
class Said:
    """What was appended to one item."""

    speaker: str
    pcm: PcmFormat
    samples: int = 0

    @property
    def ms(self) -> float:
        return 1000 * self.samples / self.pcm.rate


@dataclass
class Walk:
    """Random calls on a stage, and all that came of them."""

    rng: random.Random
    stage: Playing
    said: dict[str, Said] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def listen(self) -> None:
        """Count each speaker's loud samples as they leave."""
        for speaker, lane in self.stage.lanes.items():
            lane.mix_into = self._counting(speaker, lane.mix_into)

    def _counting(self, speaker: str, mix):
        def mix_into(sound, frame):
            alone = np.zeros_like(sound)
            mix(alone, frame)
            self.heard[speaker] += int((alone > 0.1).sum())
            sound += alone

        return mix_into

    def call(self) -> None:
        speaker, lane = self.rng.choice(list(self.stage.lanes.items()))
        match self.rng.randrange(14):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6:
                self._append(speaker, f"{speaker} {len(self.said)}")
            case 7 | 8:
                open_items = [each for each in self.said if self._is_open(each)]
                if open_items:
                    self._append(speaker, self.rng.choice(open_items))
            case 9 | 10 | 11:
                if lane.has_open_item:
                    lane.commit(None)
            case 12:
                lane.clear_input()
            case 13:
                self.stage.interrupt(*self.rng.choice([("ana",), ("ben",), SPEAKERS]))
        self.stage.scheduler.wake()

    def _is_open(self, item: str) -> bool:
        lane = self.stage.lanes[self.said[item].speaker]
        return lane.has_open_item and list(lane._items)[-1].id == item

    def _append(self, speaker: str, item: str) -> None:
        speaker = self.said[item].speaker if item in self.said else speaker
        pcm = PcmFormat(self.rng.choice(RATES), self.rng.choice([1, 1, 2]))
        pcm = self.said[item].pcm if item in self.said else pcm
        samples = round(pcm.rate * self.rng.choice([0, 0.0001, 0.01, 0.04, 0.16, 0.5, 2]))
        data = np.full(samples * pcm.channels, LEVEL, "<i2").tobytes()
        self.stage.lanes[speaker].append(data, item, pcm)
        self.said.setdefault(item, Said(speaker, pcm)).samples += samples

    def ends(self, speaker: str) -> dict[str, OutputStopped | OutputCleared]:
        kinds = (OutputStopped, OutputCleared)
        events = [e for _, e in self.stage.events if isinstance(e, kinds)]
        return {e.item_id: e for e in events if e.speaker == speaker}


def walk(seed: int) -> Walk:
    async def story() -> Walk:
        rng = random.Random(seed)
        async with playing(*SPEAKERS, cost_s=lambda: rng.choice([0.02, 0.05, 0.15])) as stage:
            done = Walk(rng, stage)
            done.listen()
            for _ in range(CALLS):
                done.call()
                await asyncio.sleep(rng.choice([0, 0, 0.01, 0.04, 0.3]))
            for lane in stage.lanes.values():
                if lane.has_open_item:
                    lane.commit(None)
                stage.scheduler.wake()
            await asyncio.sleep(62)  # at most 60 s wait
        return done

    return run_virtually(story())


NIGHTLY = [pytest.param(seed, marks=pytest.mark.nightly) for seed in range(12, 80)]


@pytest.fixture(scope="module", params=[*range(12), *NIGHTLY])
def walked(request) -> Walk:
    return walk(request.param)


@pytest.mark.fault("turns")
def test_each_item_ends_once_and_in_order(walked):
    """Whatever is appended, committed, cleared and interrupted, each item ends exactly once."""
    kinds = (OutputStopped, OutputCleared)
    ended = [e.item_id for _, e in walked.stage.events if isinstance(e, kinds)]
    assert sorted(ended) == sorted(walked.said)
    for speaker in SPEAKERS:
        mine = [each for each in ended if walked.said[each].speaker == speaker]
        assert mine == [each for each in walked.said if walked.said[each].speaker == speaker]


@pytest.mark.fault("turns")
def test_an_item_stops_before_the_next_one_starts(walked):
    """A speaker's item starts once, before it ends, and after the item before it has ended."""
    for speaker in SPEAKERS:
        playing_now = None
        started = []
        for _, event in walked.stage.events:
            if getattr(event, "speaker", None) != speaker:
                continue
            if isinstance(event, OutputStarted):
                assert playing_now is None
                playing_now = event.item_id
                started.append(event.item_id)
            elif isinstance(event, OutputStopped | OutputCleared):
                assert playing_now in (None, event.item_id)
                playing_now = None
        assert len(started) == len(set(started))


@pytest.mark.fault("turns")
def test_states_alternate_and_are_the_last_to_change(walked):
    """A speaker's state changes from speaking to idle and back, never twice to the same."""
    for speaker in SPEAKERS:
        states = [e.state for e in walked.stage.of(AvatarState) if e.speaker == speaker]
        assert states == ["speaking", "idle"] * (len(states) // 2)


@pytest.mark.fault("turns")
def test_what_was_played_is_what_was_sent_or_what_is_told(walked):
    """An item that stopped was played whole; of one that was cut, what is told was heard."""
    for speaker in SPEAKERS:
        ends = walked.ends(speaker)
        for item, end in ends.items():
            sent_ms = walked.said[item].ms
            if isinstance(end, OutputStopped):
                assert abs(end.audio_end_ms - sent_ms) <= 1.1, (item, end, sent_ms)
            assert end.audio_end_ms <= sent_ms + 1
        told = 48 * sum(end.audio_end_ms for end in ends.values())
        slack = 48 * 8 * len(ends)  # fades of 5 ms, seams of 1 ms, milliseconds that are cut off
        assert abs(walked.heard[speaker] - told) <= slack


@pytest.mark.fault("turns")
def test_nothing_is_left_behind(walked):
    """After the last item a speaker holds no sound and few resamplers, whatever the rates were."""
    for lane in walked.stage.lanes.values():
        assert lane.queued_samples == 0
        assert not lane._items
        assert not lane._placed
        assert len(lane._resamplers) <= POOLED_STREAMS
    committed = [e.item_id for e in walked.stage.of(InputCommitted)]
    assert len(committed) == len(set(committed))
