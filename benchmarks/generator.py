"""Compute time over media time of the library alone."""

from __future__ import annotations

import time

import numpy as np
import torch

from runtime.character.store import find_character
from runtime.engine.torch_engine import default_engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import PRESETS, StreamPreset
from runtime.timing import VIDEO_FPS
from runtime.weights.checkpoint import AvatarModel, load_builtin
from training.voices.speech import make_track

WARM_UP_S = 2.0


def real_time_factor(
    model: AvatarModel, preset: StreamPreset, character_id: str, seconds: float
) -> tuple[float, float]:
    """Seconds on the clock and on the processor (all threads together) per second of video.

    With speech all the time, after a warm-up, on the default engine. On a busy machine the clock
    measures the other processes as well.
    """
    character = find_character(character_id)
    stream = StreamingGenerator(model, character, preset, engines=default_engines(model))
    pcm, _ = make_track(np.random.default_rng(3), WARM_UP_S + seconds + 3, "test")
    for speaker in character.speaker_ids:
        stream.push(speaker, pcm)
    while stream.next_frame < WARM_UP_S * VIDEO_FPS:
        stream.tick()
    clock, processor, first = time.perf_counter(), time.process_time(), stream.next_frame
    while stream.next_frame < first + seconds * VIDEO_FPS:
        stream.tick()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    shown = (stream.next_frame - first) / VIDEO_FPS
    return clock / shown, processor / shown


def stages_ms(model: AvatarModel, preset: StreamPreset, ticks: int = 20) -> dict[str, float]:
    """Mean milliseconds of each stage of a tick, one speaker."""
    character = find_character("mira")
    stream = StreamingGenerator(model, character, preset, engines=default_engines(model))
    pcm, _ = make_track(np.random.default_rng(3), 12.0, "test")
    stream.push("mira", pcm)
    for _ in range(5):
        stream.tick()
    totals: dict[str, float] = {}
    for _ in range(ticks):
        stream.tick()
        for stage, ms in stream.stage_ms.items():
            totals[stage] = totals.get(stage, 0.0) + ms
    return {stage: total / ticks for stage, total in totals.items()}


def run(seconds: float, threads: int) -> dict[str, dict[str, float]]:
    """Every preset, one speaker and two."""
    torch.set_num_threads(threads)
    model = load_builtin()
    rows: dict[str, dict[str, float]] = {}
    for name, preset in PRESETS.items():
        rows[name] = {}
        for people, character in (("one speaker", "mira"), ("two speakers", "ana-ben")):
            clock, processor = real_time_factor(model, preset, character, seconds)
            rows[name] |= {people: clock, f"{people}, processor": processor}
    rows["interactive, ms a tick"] = stages_ms(model, PRESETS["interactive"])
    return rows
