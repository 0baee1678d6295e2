"""Compares the built-in model's engines with torch eager; in one run they take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality import best_lag
from export.request import ExportRequest, export_engines
from runtime.character.store import find_character
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.kinds import EngineChoice
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Denoiser, Engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import find_preset
from runtime.timing import SAMPLE_RATE
from runtime.values import Samples
from runtime.weights.checkpoint import AvatarModel, load_builtin
from training.drawing.cast import cast
from training.scores.mouth_meter import mouth_opening
from training.voices.speech import make_track

CHARACTER, PRESET = "mira", "interactive"
CHARACTERS = 4  # how many of the cast talk
EAGER = "torch-eager"  # the reference of the comparison
CHOICES = {
    EAGER: (EAGER, "fp32"),
    "torch": ("torch", "fp32"),
    "onnx": ("onnx", "fp32"),
    "onnx int8": ("onnx", "int8"),
}


class LastCallDenoiser:
    """A denoiser that keeps the arguments of its last call."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self.call: tuple[Tensor, StepInputs, WindowInputs] | None = None

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        self.call = (x, step, window)
        return self._denoiser.denoise(x, step, window)


def engines_of(model: AvatarModel, root: Path) -> dict[str, Engines]:
    """Torch's engines and those under `root`, for one speaker; missing ones are built."""
    for kind, precision in CHOICES.values():
        if kind == "onnx":
            export_engines(
                ExportRequest(kind, preset=PRESET, speakers=[1], precision=precision, out=root)
            )
    shape = stream_shape(model, find_character(CHARACTER), find_preset(PRESET).window)
    return {
        name: open_engines(EngineChoice(kind, precision, root), model, shape)
        for name, (kind, precision) in CHOICES.items()
    }


def noise(samples: int) -> Samples:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def stream_of(model: AvatarModel, engines: Engines) -> StreamingGenerator:
    return StreamingGenerator(
        model, find_character(CHARACTER), find_preset(PRESET), engines=engines
    )


def turn_by_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of each call: median and best, on the clock and on the processor.

    Calls take turns, so that other load on the machine affects all of them equally. On a busy
    machine only the processor's best is meaningful; it adds up the times of all threads.
    """
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            clock, processor = time.perf_counter(), time.process_time()
            call()
            took = time.perf_counter() - clock, time.process_time() - processor
            if number >= 2:  # the first two warm up
                spent[name].append(took)
    return {
        name: {
            "clock p50": 1e3 * median(clock for clock, _ in each),
            "clock best": 1e3 * min(clock for clock, _ in each),
            "processor p50": 1e3 * median(processor for _, processor in each),
            "processor best": 1e3 * min(processor for _, processor in each),
        }
        for name, each in spent.items()
    }


def mouth(model: AvatarModel, engines: Engines, seconds: float) -> float:
    """Correlation of the generated mouth's opening with the true jaw at the best lag.

    Held-out voices and texts; the mean over characters of the cast.
    """
    scores = []
    for number, member in enumerate(cast()[:CHARACTERS]):
        pcm, curves = make_track(np.random.default_rng(31 + number), seconds, "test")
        character = find_character(member.id)
        stream = StreamingGenerator(model, character, find_preset(PRESET), engines=engines)
        stream.push(character.speaker_ids[0], pcm)
        frames = np.stack([frame.pixels for frame in stream.flush()])
        opening = mouth_opening(frames, member.scene.mouth_boxes()[0], character.picture.pixels)
        count = min(len(curves), len(opening))
        scores.append(best_lag(opening[:count], curves[:count, 0])[1])
    return float(np.mean(scores))


@torch.inference_mode()
def run(root: Path, threads: int, rounds: int, seconds: float) -> dict[str, object]:
    """Times a denoiser call and a tick of each engine, and compares predictions and lip sync."""
    torch.set_num_threads(threads)
    model = load_builtin()
    found = engines_of(model, root)
    recorder = LastCallDenoiser(model.dit)
    stream = stream_of(model, Engines(recorder, model.autoencoder, model.audio_encoder))
    stream.push(CHARACTER, noise(2 * SAMPLE_RATE))
    for _ in range(3):
        stream.tick()
    assert recorder.call is not None
    call = recorder.call
    expected = model.dit.denoise(*call)
    newest = expected.shape[2]
    denoise = {name: _bind(each.denoiser, call) for name, each in found.items()}
    ticks = {name: _ticking(stream_of(model, each)) for name, each in found.items()}
    ms = turn_by_turn(denoise, rounds)
    tick_ms = turn_by_turn(ticks, rounds)
    return {
        "threads": threads,
        "denoise, ms": ms,
        "tick, ms": tick_ms,
        f"denoise, times as fast as {EAGER}": _ratios(ms),
        f"tick, times as fast as {EAGER}": _ratios(tick_ms),
        f"relative L2 to {EAGER}": {
            name: float((run()[:, :, -newest:] - expected).norm() / expected.norm())
            for name, run in denoise.items()
        },
        "mouth against the true jaw": {
            name: mouth(model, each, seconds) for name, each in found.items()
        },
    }


def _bind(
    denoiser: Denoiser, call: tuple[Tensor, StepInputs, WindowInputs]
) -> Callable[[], Tensor]:
    return lambda: denoiser.denoise(*call)


def _ticking(stream: StreamingGenerator) -> Callable[[], object]:
    """One more tick of a stream whose audio is noise."""

    def tick() -> object:
        missing = max(0, stream.needed_samples - stream.pushed_samples(CHARACTER))
        stream.push(CHARACTER, noise(missing))
        return stream.tick()

    return tick


def _ratios(ms: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """How many times as fast as eager each is, best to best: on the clock and on the processor."""
    eager = ms[EAGER]
    return {
        name: {
            "clock": eager["clock best"] / each["clock best"],
            "processor": eager["processor best"] / each["processor best"],
        }
        for name, each in ms.items()
    }
