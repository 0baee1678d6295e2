"""Everything that a stream remembers, and how it forgets and goes back."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from runtime.audio.features import HeardAudio, forget, needed_samples, truncate
from runtime.errors import BadInput
from runtime.stream.schedule import WindowPlan
from runtime.timing import (
    FRAMES_PER_LATENT,
    SAMPLES_PER_FRAME,
    VIDEO_FPS,
    frames_in_latents,
)

V = TypeVar("V")

HISTORY_FRAMES = 4 * VIDEO_FPS  # how far a stream can go back
HISTORY_LATENTS = HISTORY_FRAMES // FRAMES_PER_LATENT + 1


@dataclass(frozen=True, slots=True)
class Mood:
    """The emotion of one speaker: a name of the character's references, strength 0..1."""

    emotion: str = "neutral"
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream between two ticks. The dicts are updated in place, by absolute latent frame.

    Latent frames below `origin` are never generated again: 0, or where the stream last went back.
    """

    at: int  # position of the next tick
    origin: int
    done: int  # latent frames below this one are decoded and handed out
    levels: tuple[dict[int, Tensor], ...]  # [k][n]: latents (C, h, w) at level k; [0] is noise
    decoders: dict[int, Any]  # the decoder's state after latent frame n
    sounds: dict[int, Tensor]  # features (S, 4, 10, layers, width) that latent frame n hears
    heard: tuple[HeardAudio, ...]  # by speaker
    moods: tuple[Mood, ...]  # by speaker

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that is not handed out yet."""
        return frames_in_latents(self.done)


def initial_state(speakers: int, steps: int, decoder: Any) -> StreamState:
    return StreamState(
        at=0,
        origin=0,
        done=0,
        levels=tuple({} for _ in range(steps + 1)),
        decoders={-1: decoder},
        sounds={},
        heard=(HeardAudio(),) * speakers,
        moods=(Mood(),) * speakers,
    )


def first_latent_from(frame: int) -> int:
    """The first latent frame whose pictures all lie at or after video frame `frame`."""
    return (frame + 2 * FRAMES_PER_LATENT - 2) // FRAMES_PER_LATENT if frame > 0 else 0


def trimmed(state: StreamState, plan: WindowPlan) -> StreamState:
    """`state` without what neither the next tick nor a rewind of HISTORY_FRAMES can need."""
    earliest = max(0, state.done - HISTORY_LATENTS)
    oldest = plan.oldest_seen(earliest)
    for remembered in (*state.levels, state.sounds):
        _drop(remembered, [n for n in remembered if n < oldest])
    _drop(state.decoders, [n for n in state.decoders if n < earliest - 1])
    return replace(state, heard=tuple(forget(one, max(0, oldest)) for one in state.heard))


def rewound(state: StreamState, frame: int, cleared: frozenset[int]) -> StreamState:
    """`state` as of before the pictures of `frame` on; the `cleared` speakers' sound ends there."""
    latent = first_latent_from(frame)
    if not 0 <= frame <= state.next_frame or latent - 1 not in state.decoders:
        oldest = max(0, state.next_frame - HISTORY_FRAMES)
        raise BadInput(
            f"Cannot go back to frame {frame}: frames {oldest} to {state.next_frame} are kept.",
            param="frame_index",
        )
    sample = frame * SAMPLES_PER_FRAME
    for level in state.levels[1:]:
        _drop(level, [n for n in level if n >= latent])
    _drop(state.decoders, [n for n in state.decoders if n >= latent])
    if cleared:
        _drop(state.sounds, [n for n in state.sounds if needed_samples(n) > sample])
    heard = tuple(
        truncate(one, sample) if place in cleared else one for place, one in enumerate(state.heard)
    )
    return replace(state, at=latent, origin=latent, done=latent, heard=heard)


def _drop(remembered: dict[int, V], latents: list[int]) -> None:
    for latent in latents:
        del remembered[latent]
