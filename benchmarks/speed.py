"""Compute time over media time of the library alone."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import torch

from runtime.character_store import find_character
from runtime.checkpoint import AvatarModel, load_builtin
from runtime.presets import PRESETS, StreamPreset
from runtime.spans import SpanRecorder
from runtime.stream import StreamingGenerator
from runtime.timing import VIDEO_FPS
from training.speech import make_track

WARM_UP_S = 2.0


def real_time_factor(
    model: AvatarModel, preset: StreamPreset, character_id: str, seconds: float
) -> float:
    """Seconds of compute per second of video, speech all the time, after a warm-up."""
    character = find_character(character_id)
    stream = StreamingGenerator(model, character, preset)
    pcm, _ = make_track(np.random.default_rng(3), WARM_UP_S + seconds + 3, "test")
    for speaker in character.speaker_ids:
        stream.push(speaker, pcm)
    while stream.next_frame < WARM_UP_S * VIDEO_FPS:
        stream.tick()
    start, first = time.perf_counter(), stream.next_frame
    while stream.next_frame < first + seconds * VIDEO_FPS:
        stream.tick()
    return (time.perf_counter() - start) / ((stream.next_frame - first) / VIDEO_FPS)


def stages_ms(model: AvatarModel, preset: StreamPreset, ticks: int = 20) -> dict[str, float]:
    """Mean milliseconds of each stage of a tick, one speaker."""
    character = find_character("mira")
    spans = SpanRecorder()
    stream = StreamingGenerator(model, character, preset, spans=spans)
    pcm, _ = make_track(np.random.default_rng(3), 12.0, "test")
    stream.push("mira", pcm)
    for _ in range(5):
        stream.tick()
    spans.drain()
    for _ in range(ticks):
        stream.tick()
    totals: dict[str, float] = defaultdict(float)
    for span in spans.drain():
        totals[span.name] += span.duration_ns / 1e6 / ticks
    return dict(totals)


def run(seconds: float, threads: int) -> dict[str, dict[str, float]]:
    """Every preset, one speaker and two."""
    torch.set_num_threads(threads)
    model = load_builtin()
    rows = {}
    for name, preset in PRESETS.items():
        rows[name] = {
            "one speaker": real_time_factor(model, preset, "mira", seconds),
            "two speakers": real_time_factor(model, preset, "ana-ben", seconds),
        }
    rows["interactive, ms a tick"] = stages_ms(model, PRESETS["interactive"])
    return rows
