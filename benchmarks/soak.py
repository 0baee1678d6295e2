"""One long session of the library: memory, drift, and lip sync at its start and end."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.quality import best_lag
from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import find_preset
from runtime.timing import SAMPLE_RATE, VIDEO_FPS
from runtime.weights.checkpoint import load_builtin
from training.drawing.cast import cast
from training.scores.mouth_meter import mouth_opening
from training.shipped import CHARACTERS
from training.voices.speech import make_track

PART_S = 20.0


def memory_mb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def run(minutes: float, preset: str = "interactive") -> dict[str, float]:
    """Runs one stream with speech for `minutes`; compares its first and last 20 seconds."""
    model, member = load_builtin(), cast()[0]
    character = Character.load(CHARACTERS / member.id)
    stream = StreamingGenerator(
        model, character, find_preset(preset), engines=default_engines(model)
    )
    rest, rng = character.picture.pixels, np.random.default_rng(17)
    speaker, box = member.speaker_ids[0], member.scene.mouth_boxes()[0]
    parts: list[tuple[int, float]] = []
    memory: list[float] = []
    pushed, shown, started = 0, 0, time.perf_counter()
    jaws: list[np.ndarray] = []
    openings: list[np.ndarray] = []
    for _ in range(max(2, round(60 * minutes / PART_S))):
        pcm, mouth = make_track(rng, PART_S, "test")
        stream.push(speaker, pcm)
        jaws.append(mouth[: len(pcm) * VIDEO_FPS // SAMPLE_RATE, 0])
        pushed += len(pcm)
        frames = []
        while stream.ready():
            frames += [frame.pixels for frame in stream.tick()]
        shown += len(frames)
        openings.append(mouth_opening(np.stack(frames), box, rest))
        frames.clear()  # 100 MB that belong to the benchmark, not to the library
        memory.append(memory_mb())
    jaw, opening = np.concatenate(jaws), np.concatenate(openings)
    part = int(PART_S * VIDEO_FPS)
    for start in (0, len(opening) - part):
        parts.append(best_lag(opening[start : start + part], jaw[start : start + part]))
    return {
        "minutes": pushed / SAMPLE_RATE / 60,
        "first 20 s: lag in frames": parts[0][0],
        "first 20 s: correlation": parts[0][1],
        "last 20 s: lag in frames": parts[1][0],
        "last 20 s: correlation": parts[1][1],
        "memory after a tenth, MB": memory[len(memory) // 10],
        "memory at the end, MB": memory[-1],
        "compute over media time": (time.perf_counter() - started) / (shown / VIDEO_FPS),
    }
