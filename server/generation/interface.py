"""What a session needs of the model: a backend that opens streams, and the stream it opens.

`load`, `open`, `close` and the generator's methods are called on the model thread only, except
those that say otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from runtime.values import Frame, Samples


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Character, preset and noise seed of a stream to open."""

    character: Character
    preset: str
    seed: int


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """What a preset costs in time, in milliseconds: known before the stream is opened."""

    hop_ms: int
    lag_ms: int
    lookahead_ms: int


@dataclass(frozen=True, slots=True)
class CallTimes:
    """How long the slowest calls of a loaded model take, in seconds, as far as that is known."""

    open_s: float = 0.0
    tick_s: float = 0.0


class Generator(Protocol):
    """One stream: sound of every speaker in, frames out. Positions are samples of its timeline."""

    @property
    def needed_samples(self) -> int:
        """How far every speaker's timeline must be filled before the next tick can run."""

    def push(self, speaker: str, pcm: Samples, /) -> None:
        """Append 16 kHz sound (N,), float32 in [-1, 1], to the speaker's timeline."""

    def fill_silence(self, speaker: str, until: int, /) -> None:
        """Append silence up to sample `until`."""

    def begin_tick(self, is_cancelled: Callable[[], bool], /) -> Sequence[Frame]:
        """The next final frames, in order; none if `is_cancelled` turned true on the way.

        If the result is no list, a device still works on it: its length is known, but reading a
        frame blocks. Never read one on the event loop.
        """

    @property
    def stage_ms(self) -> Mapping[str, float]:
        """Milliseconds of each stage of the latest tick."""

    def resume_frame(self, frame: int, /) -> int:
        """The first new frame after a rewind to `frame`: that one or a few later. Any thread."""

    def rewind(self, frame: int, clear: frozenset[str], /) -> object:
        """Forget frames from `resume_frame(frame)` on, and the sound of the speakers `clear` from
        `frame` on. The sound of the others stays, and is used again.
        """

    def set_emotion(self, speaker: str, name: str, strength: float, /) -> None:
        """Takes effect with the next tick; raises NotFound for an unknown name."""


class Backend(Protocol):
    """The model of one server and the characters that it can show."""

    @property
    def characters(self) -> CharacterRegistry: ...

    def load(self) -> CallTimes:
        """Load the weights and run every shape once; how long that took at most."""

    def close(self) -> None:
        """Release devices, and end processes on them."""

    def times(self, preset: str) -> StreamTimes:
        """What the preset costs; raises NotFound for an unknown name. Any thread."""

    def has_emotions(self) -> bool:
        """Whether the loaded model can show emotions. Any thread."""

    def open(self, request: StreamRequest) -> Generator:
        """A new stream at frame 0, with all work that a character needs once already done."""


def try_out(backend: Backend, request: StreamRequest) -> None:
    """Open a stream and run its first tick in silence; raises what goes wrong."""
    stream = backend.open(request)
    for speaker in request.character.speaker_ids:
        stream.fill_silence(speaker, stream.needed_samples)
    list(stream.begin_tick(lambda: False))  # read, because a device's faults show up only then
