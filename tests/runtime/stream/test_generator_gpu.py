"""A stream on a GPU: the pictures of the CPU, no memory asked of the device, one wait a tick."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from runtime.character.character import Character
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.kinds import EngineChoice
from runtime.engine.torch_engine import default_engines
from runtime.models.autoencoder.pixel_planes import Layout
from runtime.stream.generator import StreamingGenerator
from runtime.stream.readback import to_device
from runtime.values import Frame
from runtime.weights.checkpoint import AvatarModel
from tests.support.models.small_model import random_model
from tests.support.models.small_world import (
    PRESETS,
    babble,
    pixels,
    run,
    small_character,
    small_model,
)

WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")
ALLOCATIONS = ("cudaMalloc", "cudaMallocAsync", "cudaFree", "cudaHostAlloc")
STEADY_TICKS = 12  # by then the caches of both allocators are full
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def test_on_a_cpu_nothing_is_copied() -> None:
    host = torch.randn(3)
    assert to_device(host, torch.device("cpu")) is host


@pytest.fixture
def model() -> AvatarModel:
    return random_model(0).to("cuda")


@pytest.fixture
def character(tmp_path: Path) -> Character:
    return small_character(tmp_path)


def graphed(model: AvatarModel, character: Character, layout: Layout = "rgb") -> StreamingGenerator:
    engines = open_engines(EngineChoice("torch-graphed"), model, stream_shape(model, character, 3))
    stream = StreamingGenerator(model, character, PRESETS[0], engines=engines, layout=layout)
    stream.push("ana", babble(8.0))
    return stream


@pytest.mark.gpu
@needs_gpu
def test_pictures_are_those_of_the_cpu(model: AvatarModel, character: Character) -> None:
    on_cpu = StreamingGenerator(
        small_model(), character, PRESETS[0], engines=default_engines(small_model())
    )
    on_cpu.push("ana", babble(8.0))
    found = pixels(run(graphed(model, character))).astype(int)
    difference = np.abs(found - pixels(run(on_cpu)))
    assert difference.mean() < 1


def waits_and_allocations(work: Callable[[], Sequence[Frame]]) -> tuple[int, int]:
    """How often the work waits for the device, and asks it for memory."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
        assert len(work()) == 4
    calls = Counter(event.name for event in seen.events())
    return sum(calls[name] for name in WAITS), sum(calls[name] for name in ALLOCATIONS)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("layout", ["rgb", "i420"])
def test_a_steady_tick_asks_for_no_memory_and_waits_once(
    model: AvatarModel, character: Character, layout: Layout
) -> None:
    stream = graphed(model, character, layout)
    for _ in range(STEADY_TICKS):
        stream.tick()
    waits, allocations = waits_and_allocations(stream.tick)
    assert waits <= 1  # none where the device is done before its frames are looked at
    assert allocations == 0


@pytest.mark.gpu
@needs_gpu
def test_a_tick_begins_without_waiting_for_its_frames(
    model: AvatarModel, character: Character
) -> None:
    stream = graphed(model, character)
    for _ in range(STEADY_TICKS):
        stream.tick()
    assert waits_and_allocations(stream.begin_tick) == (0, 0)
    rest = pixels(run(stream))
    again = graphed(model, character)
    assert np.array_equal(rest, pixels(run(again))[-len(rest) :])
