"""What a session needs of the model: an engine that opens streams, and the stream it opens.

`load`, `open`, `close` and the generator's methods are called on the model thread only; the rest,
`resume_frame` and `give_up` may be called anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.character.character import Character
from runtime.values import Frame, Samples


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """The stream that a session wants; `emotions` maps speakers to a mood to begin with."""

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
class Tick:
    """The new final frames of one tick, in order, and its stages' times in milliseconds.

    Where they are not ready a device still works on them: their number is known, and to look at one
    waits, which the event loop must not.
    """

    frames: Sequence[Frame]
    stages: Mapping[str, float]
    is_ready: bool = True


class Generator(Protocol):
    """One stream: sound of every speaker in, frames out. Sample positions are the timeline's."""

    def needed(self) -> int:
        """Samples that every speaker must have before the next tick can run."""

    def push(self, speaker: str, pcm: Samples) -> None:
        """Append 16 kHz sound to the speaker's timeline."""

    def fill_silence(self, speaker: str, until: int) -> None:
        """Append silence up to sample `until`."""

    def tick(self) -> Tick:
        """Make the next frames."""

    def give_up(self) -> None:
        """A rewind comes: a tick that is under way may end at once, without frames."""

    def resume_frame(self, frame: int) -> int:
        """The first new picture after a rewind to `frame`: that one or a few later. Pure."""

    def rewind(self, frame: int, clear: frozenset[str]) -> None:
        """Forget the pictures from `resume_frame(frame)` on, and what `clear` said from `frame` on.

        The sound of the others stays as it is, to be heard again.
        """

    def set_emotion(self, speaker: str, name: str, strength: float) -> None:
        """Takes effect with the next tick; raises for a name that is not there."""


class Engine(Protocol):
    """The model of one server and the characters it can be asked for."""

    def load(self) -> None:
        """Load the weights and run every shape once."""

    def close(self) -> None:
        """Let go of devices and of processes on them."""

    def characters(self) -> Mapping[str, Character]:
        """By id; folders are read anew, so that added characters appear."""

    def times(self, preset: str) -> StreamTimes:
        """What the preset costs; raises NotFound for a name that is not there."""

    def has_emotions(self) -> bool:
        """Whether the loaded model can show moods."""

    def open(self, request: StreamRequest) -> Generator:
        """A new stream at frame 0, with everything that a character costs once done."""
