"""A stream on several processes: the frames of one process, and an end when one of them dies."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput, RankLost
from runtime.multi_gpu.pipeline_stage import steps_of
from runtime.multi_gpu.pipelined import Pipeline, PipelinedGenerator
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from tests.support.models.pipeline_model import fail_on_other_ranks, load_small
from tests.support.models.small_world import (
    PRESETS,
    babble,
    pixels,
    run,
    small_character,
    small_model,
)

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

THREE_STEPS = [preset for preset in PRESETS if preset.steps == 3]


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("pipeline"), ("ana", "ben"))


@pytest.fixture(scope="module", params=[2, 4])
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    with Pipeline(load_small, ("cpu",) * request.param) as made:
        yield made


def in_one_process(character: Character, preset: StreamPreset) -> StreamingGenerator:
    return StreamingGenerator(
        small_model(), character, preset, seed=7, engines=default_engines(small_model())
    )


def say(stream: StreamingGenerator, seconds: float, seed: int = 0) -> None:
    stream.push("ana", babble(seconds, seed))
    stream.fill_silence("ben", stream.pushed_samples("ana"))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5])
def test_every_step_has_one_owner(ranks: int) -> None:
    shares = [steps_of(rank, ranks, 4) for rank in range(ranks)]
    assert [step for share in shares for step in share] == list(range(4))


def test_one_device_more_than_steps_only_decodes() -> None:
    assert [len(steps_of(rank, 4, 3)) for rank in range(4)] == [1, 1, 1, 0]


def test_more_devices_than_work_are_refused() -> None:
    with pytest.raises(BadInput, match="at most 4"):
        steps_of(0, 5, 3)


def test_one_device_is_no_pipeline() -> None:
    with pytest.raises(BadInput, match="two devices"):
        Pipeline(load_small, ("cpu",))


@pytest.mark.parametrize("preset", THREE_STEPS, ids=lambda preset: preset.name)
def test_frames_are_those_of_one_process_bit_for_bit(
    pipeline: Pipeline, character: Character, preset: StreamPreset
) -> None:
    alone, together = in_one_process(character, preset), pipeline.open(character, preset, seed=7)
    for stream in (alone, together):
        say(stream, 1.2)
        stream.set_emotion("ana", "happy", 0.7)
    expected, found = run(alone), run(together)
    assert [frame.index for frame in found] == list(range(len(expected)))
    np.testing.assert_array_equal(pixels(found), pixels(expected))


def test_going_back_gives_the_frames_of_one_process(
    pipeline: Pipeline, character: Character
) -> None:
    alone = in_one_process(character, THREE_STEPS[0])
    together = pipeline.open(character, THREE_STEPS[0], seed=7)
    say(alone, 1.2)
    say(together, 1.2)
    run(alone)
    for _ in range(5):  # the newest ticks are still under way
        together.tick()
    assert alone.rewind(5, clear={"ana"}) == together.rewind(5, clear={"ana"})
    say(alone, 0.8, seed=3)
    say(together, 0.8, seed=3)
    np.testing.assert_array_equal(pixels(run(together)), pixels(run(alone)))


def test_another_stream_ends_the_one_before_with_its_frames_under_way(
    pipeline: Pipeline, character: Character
) -> None:
    left = pipeline.open(character, THREE_STEPS[0])
    say(left, 1.0)
    left.tick()
    alone = in_one_process(character, THREE_STEPS[0])
    together = pipeline.open(character, THREE_STEPS[0], seed=7)
    for stream in (alone, together):
        say(stream, 0.8)
    np.testing.assert_array_equal(pixels(run(together)), pixels(run(alone)))
    with pytest.raises(BadInput, match="another one was opened"):
        left.tick()


def test_flushing_returns_every_frame_of_the_sound(
    pipeline: Pipeline, character: Character
) -> None:
    stream = pipeline.open(character, THREE_STEPS[1])
    say(stream, 0.5)
    assert [frame.index for frame in stream.flush()] == list(range(13))


def test_frames_that_are_not_shown_yet_are_no_place_to_go_back_to(
    pipeline: Pipeline, character: Character
) -> None:
    stream = pipeline.open(character, THREE_STEPS[0])
    say(stream, 1.0)
    stream.tick()
    with pytest.raises(BadInput, match="Cannot rewind"):
        stream.rewind(1)


# Ends --------------------------------------------------------------------------------------


@pytest.fixture
def doomed() -> Iterator[Pipeline]:
    with Pipeline(load_small, ("cpu",) * 4, stall_s=1.0) as made:
        yield made


def pids(pipeline: Pipeline) -> list[int]:
    return [process.pid or 0 for process in pipeline.processes]


def talk_on(stream: PipelinedGenerator) -> None:
    while stream.ready():
        stream.tick()


@pytest.mark.parametrize("rank", [1, 3])
def test_a_dead_rank_ends_the_session_within_two_seconds(
    doomed: Pipeline, character: Character, rank: int
) -> None:
    stream = doomed.open(character, THREE_STEPS[0])
    say(stream, 2.0)
    stream.tick()
    os.kill(pids(doomed)[rank - 1], signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(RankLost, match=f"rank {rank} ended with code -9"):
        talk_on(stream)
    assert time.monotonic() - start < 2.0
    assert not any(process.is_alive() for process in doomed.processes)
    with pytest.raises(RankLost, match=f"rank {rank}"):
        stream.tick()


def test_a_rank_that_stands_still_ends_the_session(doomed: Pipeline, character: Character) -> None:
    stream = doomed.open(character, THREE_STEPS[0])
    say(stream, 2.0)
    os.kill(pids(doomed)[1], signal.SIGSTOP)
    with pytest.raises(RankLost, match=r"no rank has answered for 1 s"):
        talk_on(stream)


def test_a_rank_that_cannot_load_the_model_is_named() -> None:
    with pytest.raises(RankLost, match="rank 1 ended with code 1"):
        Pipeline(fail_on_other_ranks, ("cpu", "cpu:0"))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")
def test_two_gpus_make_the_frames_of_one(character: Character, tmp_path: Path) -> None:
    with Pipeline(load_small, ("cuda:0", "cuda:1")) as pipeline:
        together = pipeline.open(character, THREE_STEPS[0], seed=7)
        alone = StreamingGenerator(
            pipeline.model,
            character,
            THREE_STEPS[0],
            seed=7,
            engines=default_engines(pipeline.model),
        )
        for stream in (alone, together):
            say(stream, 1.2)
        np.testing.assert_array_equal(pixels(run(together)), pixels(run(alone)))
