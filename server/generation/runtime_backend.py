"""The real model behind the server's `Engine`: `runtime`, imported only when it is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

from runtime.character.character import Character
from runtime.character.store import BUILTIN_CHARACTERS, find_characters
from runtime.engine.kinds import ANY_SHAPE, EngineChoice, weight_precision
from runtime.stream.presets import StreamPreset, find_preset, presets_of
from runtime.timing import SAMPLE_RATE
from runtime.values import Samples
from server.config import Model
from server.generation.interface import Generator, StreamRequest, StreamTimes, Tick

if TYPE_CHECKING:
    from runtime.engine.parts import WindowShape
    from runtime.models.autoencoder.pixel_planes import Layout
    from runtime.multi_gpu.pipelined import Pipeline
    from runtime.open_model import LiveOptions
    from runtime.spans import SpanRecorder
    from runtime.stream.engines import Engines
    from runtime.stream.generator import StreamingGenerator
    from runtime.stream.model import StreamModel

logger = logging.getLogger(__name__)

SMALL_MACHINE = 2
"""Cores up to which torch gets one thread: two that share small products wait for each other longer
than they compute (a tick once took 119 ms with one and 159 ms with two), and sound, pictures and
the event loop want the other core.
"""

WARM_UP_TICKS = 4
"""Ticks of silence and of sound: every shape, the change between them, and a rewind."""


def threads_for(cores: int) -> int:
    """Torch's threads where nobody says; 0: torch decides."""
    return 1 if cores <= SMALL_MACHINE else 0


class RuntimeEngine:
    """One loaded model; streams share its weights."""

    def __init__(self, config: Model) -> None:
        self._config = config
        self._model: StreamModel | None = None
        self._engines: dict[WindowShape | None, Engines] = {}  # None: of every shape
        self._pipeline: Pipeline | None = None

    def load(self) -> None:
        import torch

        from runtime.multi_gpu.pipelined import Pipeline
        from runtime.open_model import load_on

        threads = self._config.threads or threads_for(os.cpu_count() or 1)
        if threads:
            torch.set_num_threads(threads)
        self._check_provider()
        loader = partial(load_on, self._config.checkpoint, options=self._live_options())
        if len(self._config.devices) > 1:
            self._pipeline = Pipeline(loader, self._config.devices)
            self._model = self._pipeline.model
        else:
            self._model = loader(torch.device(self._config.devices[0]))
        if self._lies_in_files:
            self._open_all()
        self._warm_up()

    def _check_provider(self) -> None:
        """Unsupported where ONNX Runtime has not what is asked for, before a model is loaded."""
        if self._config.engine == "onnx":
            import torch

            from runtime.engine.onnx_engine import provider_device

            device = torch.device(self._config.devices[0])
            provider_device(self._config.provider or "cpu", device)

    def _open_all(self) -> None:
        """Opens the engines of every stream that can be asked for, so that one which is missing or
        does not fit is told before any session is admitted.
        """
        for character in self.characters().values():
            for preset in presets_of(self._config.checkpoint).values():
                self._engines_of(character, preset)

    @property
    def _lies_in_files(self) -> bool:
        """Does the engine come from `avatar export`, rather than from torch?"""
        return not self._config.engine.startswith("torch")

    def _live_options(self) -> LiveOptions:
        """What a released folder is loaded with; all characters there are now are prepared."""
        from runtime.open_model import LiveOptions

        config, in_torch = self._config, not self._lies_in_files
        exported = "bf16"  # what `avatar export` loads, for the hash of the weights
        return LiveOptions(
            weight_precision(config.precision) if in_torch else exported,
            config.decoder,
            config.embeddings,
            blocks_on_device=in_torch,
            characters=tuple(self.characters().values()),
        )

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()

    def characters(self) -> Mapping[str, Character]:
        return find_characters((*self._config.characters, BUILTIN_CHARACTERS))

    def _preset(self, name: str) -> StreamPreset:
        return find_preset(name, presets_of(self._config.checkpoint))

    def times(self, preset: str) -> StreamTimes:
        found = self._preset(preset)
        under_way_ms = (len(self._config.devices) - 1) * found.hop_ms
        return StreamTimes(found.hop_ms, found.lag_ms + under_way_ms, _lookahead_ms())

    def has_emotions(self) -> bool:
        return self._model is not None and self._model.dit.config.emotion

    def open(self, request: StreamRequest) -> Generator:
        from runtime.spans import SpanRecorder
        from runtime.stream.generator import StreamingGenerator

        assert self._model is not None, "load() comes first"
        spans = SpanRecorder(kept=256)
        preset = self._preset(request.preset)
        if self._pipeline is not None:
            shared = self._pipeline.open(request.character, preset, request.seed)
            return RuntimeGenerator(shared, spans)
        engines = self._engines_of(request.character, preset)
        planes: Layout = "i420" if self._model.device.type == "cuda" else "rgb"
        stream = StreamingGenerator(
            self._model,
            request.character,
            preset,
            request.seed,
            spans,
            engines=engines,
            layout=planes,
        )
        return RuntimeGenerator(stream, spans)

    def _engines_of(self, character: Character, preset: StreamPreset) -> Engines:
        """The engines of streams of these shapes, opened once; EngineError where there are none.

        Those that serve every shape are opened once in all: each has weights laid out its own way.
        """
        from runtime.engine.choice import open_engines, stream_shape

        assert self._model is not None, "load() comes first"
        config = self._config
        shape = stream_shape(self._model, character, preset.window)
        key = None if config.engine in ANY_SHAPE else shape
        if key not in self._engines:
            choice = EngineChoice(
                config.engine,
                config.precision,
                config.engines,
                config.provider,
                threads=config.threads,
                blocks_per_part=config.blocks,
            )
            self._engines[key] = open_engines(choice, self._model, shape)
        return self._engines[key]

    def _warm_up(self) -> None:
        """Run silence, speech and an interruption: each preset, and each number of speakers."""
        by_speakers = {len(each.speakers): each for each in self.characters().values()}
        wanted = {(self._config.default_preset, count) for count in by_speakers}
        largest = len(self._config.devices) - 1  # steps that a preset needs, one for a device
        presets = presets_of(self._config.checkpoint).values()
        fitting = [preset.name for preset in presets if preset.steps >= largest]
        wanted |= {(preset, count) for preset in fitting for count in list(by_speakers)[:1]}
        for preset, count in sorted(wanted):
            character = by_speakers[count]
            stream, newest = self.open(StreamRequest(character, preset, 0)), 0
            for number in range(WARM_UP_TICKS):
                for speaker in character.speaker_ids:
                    if number == WARM_UP_TICKS // 2:
                        stream.push(speaker, _tone())
                    stream.fill_silence(speaker, stream.needed())
                for frame in stream.tick().frames:  # waits for them: what fails shall fail here
                    newest = frame.index
            stream.rewind(newest, frozenset(character.speaker_ids))
            logger.info("warmed the preset %s with %d speakers", preset, count)


class RuntimeGenerator:
    """A `StreamingGenerator` as the session sees it."""

    def __init__(self, stream: StreamingGenerator, spans: SpanRecorder) -> None:
        self._stream = stream
        self._spans = spans
        self._gives_up = False

    def needed(self) -> int:
        return self._stream.needed_samples

    def push(self, speaker: str, pcm: Samples) -> None:
        self._stream.push(speaker, pcm)

    def fill_silence(self, speaker: str, until: int) -> None:
        self._stream.fill_silence(speaker, until)

    def tick(self) -> Tick:
        frames = self._stream.begin_tick(lambda: self._gives_up)
        stages: dict[str, float] = {}
        for span in self._spans.drain():
            stages[span.name] = stages.get(span.name, 0.0) + span.duration_ns / 1e6
        return Tick(frames, stages, is_ready=isinstance(frames, list))

    def give_up(self) -> None:
        self._gives_up = True

    def resume_frame(self, frame: int) -> int:
        from runtime.stream.state import first_latent_from
        from runtime.timing import frames_of_latent

        return frames_of_latent(first_latent_from(frame)).start

    def rewind(self, frame: int, clear: frozenset[str]) -> None:
        self._gives_up = False
        self._stream.rewind(frame, clear)

    def set_emotion(self, speaker: str, name: str, strength: float) -> None:
        self._stream.set_emotion(speaker, name, strength)


@cache
def _lookahead_ms() -> int:
    from runtime.audio.features import LOOKAHEAD_SAMPLES

    return 1000 * LOOKAHEAD_SAMPLES // SAMPLE_RATE


def _tone() -> Samples:
    import numpy as np

    time = np.arange(SAMPLE_RATE // 4, dtype=np.float32) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 220.0 * time)).astype(np.float32)
