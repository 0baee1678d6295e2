"""What the model thread runs for a session: one tick, or one rewind, as a value that is called."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from runtime.timing import SAMPLES_PER_FRAME
from runtime.values import Frame, Samples
from server.generation.interface import Generator


@dataclass(frozen=True, slots=True)
class EmotionChange:
    """A speaker's emotion from the next tick on; `strength` 0 to 1."""

    speaker: str
    name: str
    strength: float


@dataclass(frozen=True, slots=True)
class SpeechPart:
    """What one speaker's timeline gets before a tick: samples, then silence up to `until`."""

    speaker: str
    pieces: tuple[Samples, ...]
    until: int


@dataclass(frozen=True, slots=True)
class TickResult:
    """The new frames of a tick, in order; the sound that the next tick needs; times.

    If `is_ready` is false a device is still working: the number of frames is valid, but reading one
    blocks. Never read one on the event loop.
    """

    frames: Sequence[Frame]
    needed_samples: int
    stages: Mapping[str, float]
    compute_s: float
    is_ready: bool


@dataclass(frozen=True, slots=True)
class TickJob:
    """Feeds the generator and makes the next frames; none if `cancelled` is set on the way."""

    generator: Generator
    speech: tuple[SpeechPart, ...]
    emotions: tuple[EmotionChange, ...]
    cancelled: threading.Event

    def __call__(self) -> TickResult:
        started = perf_counter()
        generator = self.generator
        for change in self.emotions:
            generator.set_emotion(change.speaker, change.name, change.strength)
        for part in self.speech:
            for piece in part.pieces:
                generator.push(part.speaker, piece)
            generator.fill_silence(part.speaker, part.until)
        frames = generator.begin_tick(self.cancelled.is_set)
        return TickResult(
            frames,
            generator.needed_samples,
            generator.stage_ms,
            perf_counter() - started,
            isinstance(frames, list),
        )


@dataclass(frozen=True, slots=True)
class RewindResult:
    """Where new speech starts, in samples; the sound that the next tick needs."""

    resumes_at: int
    needed_samples: int


@dataclass(frozen=True, slots=True)
class RewindJob:
    """Rewinds to `frame`; new speech of the speakers `clear` starts with the first new frame.

    Unsets `cancelled`, so that later ticks run.
    """

    generator: Generator
    frame: int
    clear: frozenset[str]
    cancelled: threading.Event

    def __call__(self) -> RewindResult:
        self.cancelled.clear()
        self.generator.rewind(self.frame, self.clear)
        resumes_at = self.generator.resume_frame(self.frame) * SAMPLES_PER_FRAME
        for speaker in self.clear:
            self.generator.fill_silence(speaker, resumes_at)
        return RewindResult(resumes_at, self.generator.needed_samples)
