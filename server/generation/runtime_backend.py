"""The server's `Backend` by `runtime`, whose heavy parts are imported only when it is loaded."""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from time import perf_counter
from typing import TYPE_CHECKING

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from runtime.character.store import BUILTIN_CHARACTERS
from runtime.engine.kinds import ANY_SHAPE, EngineChoice, weight_precision
from runtime.errors import BadInput, CheckpointError, NotFound
from runtime.stream.presets import StreamPreset, find_preset, is_released, presets_of
from runtime.timing import SAMPLE_RATE
from runtime.values import Samples
from server.config import Model
from server.generation.interface import CallTimes, Generator, StreamRequest, StreamTimes

if TYPE_CHECKING:
    from runtime.engine.parts import WindowShape
    from runtime.models.autoencoder.pixel_planes import Layout
    from runtime.multi_gpu.pipelined import Pipeline
    from runtime.open_model import LiveOptions
    from runtime.stream.engines import Engines
    from runtime.stream.model import StreamModel

logger = logging.getLogger(__name__)

SMALL_MACHINE = 2
"""Up to this many cores torch gets one thread. Two threads that share small matrix products wait
for each other longer than they compute (a tick took 119 ms with one and 159 ms with two), and
audio, video encoding and the event loop need the other core.
"""

WARM_UP_TICKS = 4
"""Ticks with silence and with sound: every shape, the change between them, and a rewind."""

SLOW_OPENING_S = 60.0
"""What the first stream of a new character may take if it loads engines or text encoders."""


def threads_for(cores: int) -> int:
    """Torch's default number of threads; 0: torch decides."""
    return 1 if cores <= SMALL_MACHINE else 0


class RuntimeBackend:
    """One loaded model; streams share its weights."""

    def __init__(self, config: Model, characters: CharacterRegistry | None = None) -> None:
        """`characters`: those of the configured folders and the built-in ones by default."""
        roots = (*config.characters, BUILTIN_CHARACTERS)
        self.characters = characters or CharacterRegistry(roots)
        self._config = config
        self._model: StreamModel | None = None
        self._engines: dict[WindowShape | None, Engines] = {}  # None: of every shape
        self._pipeline: Pipeline | None = None

    def load(self) -> CallTimes:
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
        try:
            return self._warm_up()
        except FloatingPointError as error:
            raise CheckpointError(
                f"The model computes no numbers ({error}), so its weights or its engines are "
                "damaged. Fetch or export them again."
            ) from error

    def _check_provider(self) -> None:
        """Unsupported if ONNX Runtime lacks the provider; checked before a model is loaded."""
        if self._config.engine == "onnx":
            import torch

            from runtime.engine.onnx_engine import provider_device

            device = torch.device(self._config.devices[0])
            provider_device(self._config.provider or "cpu", device)

    def _open_all(self) -> None:
        """Open the engines of every possible stream, so that a missing or unfit one is reported
        before any session is admitted.
        """
        for character in self.characters.read().values():
            for preset in presets_of(self._config.checkpoint).values():
                self._engines_of(character, preset)

    @property
    def _lies_in_files(self) -> bool:
        """Whether the engine comes from `avatar export`, rather than from torch."""
        return not self._config.engine.startswith("torch")

    def _live_options(self) -> LiveOptions:
        """Options for loading a released folder; all present characters are prepared."""
        from runtime.open_model import LiveOptions

        config, in_torch = self._config, not self._lies_in_files
        exported = "bf16"  # what `avatar export` loads, for the hash of the weights
        return LiveOptions(
            weight_precision(config.precision) if in_torch else exported,
            config.decoder,
            config.embeddings,
            blocks_on_device=in_torch,
            characters=tuple(self.characters.read().values()),
        )

    def close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()

    def _preset(self, name: str) -> StreamPreset:
        return find_preset(name, presets_of(self._config.checkpoint))

    def times(self, preset: str) -> StreamTimes:
        found = self._preset(preset)
        under_way_ms = (len(self._config.devices) - 1) * found.hop_ms
        return StreamTimes(found.hop_ms, found.lag_ms + under_way_ms, _lookahead_ms())

    def has_emotions(self) -> bool:
        return self._model is not None and self._model.dit.config.emotion

    def open(self, request: StreamRequest) -> Generator:
        try:
            return self._open(request)
        except (BadInput, OSError) as error:
            if request.character.folder.is_dir():
                raise
            raise NotFound(
                f"The character {request.character.id} was deleted after this session had chosen "
                "it. Open another session with another character.",
                param="character",
            ) from error

    def _open(self, request: StreamRequest) -> Generator:
        from runtime.stream.generator import StreamingGenerator

        assert self._model is not None, "load() comes first"
        preset = self._preset(request.preset)
        if self._pipeline is not None:
            return self._pipeline.open(request.character, preset, request.seed)
        engines = self._engines_of(request.character, preset)
        planes: Layout = "i420" if self._model.device.type == "cuda" else "rgb"
        return StreamingGenerator(
            self._model,
            request.character,
            preset,
            request.seed,
            engines=engines,
            layout=planes,
        )

    def _engines_of(self, character: Character, preset: StreamPreset) -> Engines:
        """The engines for streams of these shapes, opened once; EngineError if there are none.

        An engine that serves every shape is opened only once, because each lays out its own copy of
        the weights.
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

    def _warm_up(self) -> CallTimes:
        """Run silence, speech and an interruption: each preset, and each number of speakers."""
        by_speakers: dict[int, list[Character]] = {}
        for each in self.characters.read().values():
            by_speakers.setdefault(len(each.speakers), []).append(each)
        wanted = {(self._config.default_preset, count) for count in by_speakers}
        largest = (
            len(self._config.devices) - 1
        )  # a preset needs this many steps, one for each device
        presets = presets_of(self._config.checkpoint).values()
        fitting = [preset.name for preset in presets if preset.steps >= largest]
        wanted |= {(preset, count) for preset in fitting for count in list(by_speakers)[:1]}
        open_s = SLOW_OPENING_S if self._may_load_later else 0.0
        tick_s = 0.0
        for preset, count in sorted(wanted):
            times = self._warm_with_any(by_speakers[count], preset)
            open_s, tick_s = max(open_s, times.open_s), max(tick_s, times.tick_s)
            logger.info("warmed the preset %s with %d speakers", preset, count)
        return CallTimes(open_s, tick_s)

    def _warm_with_any(self, characters: list[Character], preset: str) -> CallTimes:
        """With the last of them that works: an emotion's picture may turn out to be broken."""
        *others, last = characters
        try:
            return self._warm_stream(StreamRequest(last, preset, 0))
        except (BadInput, OSError) as error:
            if not others:
                raise
            logger.warning("the character in %s cannot be shown: %s", last.folder, error)
            return self._warm_with_any(others, preset)

    @property
    def _may_load_later(self) -> bool:
        """Whether a stream of a character that was added later loads or compiles something."""
        checkpoint = self._config.checkpoint
        is_large = checkpoint is not None and is_released(checkpoint)
        return is_large or self._config.engine != "torch"

    def _warm_stream(self, request: StreamRequest) -> CallTimes:
        began = perf_counter()
        stream, newest = self.open(request), 0
        open_s, ticks_s = perf_counter() - began, [0.0]
        for number in range(WARM_UP_TICKS):
            began = perf_counter()
            for speaker in request.character.speaker_ids:
                if number == WARM_UP_TICKS // 2:
                    stream.push(speaker, _tone())
                stream.fill_silence(speaker, stream.needed_samples)
            for frame in stream.begin_tick(lambda: False):  # reads them: faults show up here
                newest = frame.index
            ticks_s.append(perf_counter() - began)
        stream.rewind(newest, frozenset(request.character.speaker_ids))
        return CallTimes(open_s, max(ticks_s))


@cache
def _lookahead_ms() -> int:
    from runtime.audio.windows import LOOKAHEAD_SAMPLES

    return 1000 * LOOKAHEAD_SAMPLES // SAMPLE_RATE


def _tone() -> Samples:
    import numpy as np

    time = np.arange(SAMPLE_RATE // 4, dtype=np.float32) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 220.0 * time)).astype(np.float32)
