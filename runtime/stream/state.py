"""Everything that a stream remembers; how it advances, forgets and rewinds."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from runtime.audio.features import SpeakerAudio, forget, truncate
from runtime.audio.windows import needed_samples, oldest_needed_sample
from runtime.errors import BadInput
from runtime.stream.schedule import TickPlan, WindowPlan
from runtime.timing import (
    FRAMES_PER_LATENT,
    SAMPLES_PER_FRAME,
    VIDEO_FPS,
    frames_in_latents,
)

V = TypeVar("V")

HISTORY_FRAMES = 4 * VIDEO_FPS  # how far a stream can rewind
HISTORY_LATENTS = HISTORY_FRAMES // FRAMES_PER_LATENT + 1


@dataclass(frozen=True, slots=True)
class SpeakerEmotion:
    """The emotion of one speaker: a name among the character's references, strength 0 to 1."""

    name: str = "neutral"
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream between two ticks. The dicts are updated in place, by absolute latent frame."""

    tick: TickPlan  # the next one
    origin: int  # first latent frame of the current run: 0, or the target of the last rewind
    done: int  # latent frames below this one are decoded and returned
    finishes: range  # latent frames that `tick` makes final
    levels: tuple[dict[int, Tensor], ...]  # [k][n]: latents (C, h, w) at noise level k; [0]: noise
    decoder_states: dict[int, Any]  # [n]: after latent frame n
    audio_features: dict[int, Tensor]  # [n]: (S, 4, 10, layers, width), the audio of latent frame n
    audio: tuple[SpeakerAudio, ...]  # by speaker
    emotions: tuple[SpeakerEmotion, ...]  # by speaker

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that is not returned yet."""
        return frames_in_latents(self.done)


def initial_state(speakers: int, plan: WindowPlan, decoder_state: Any) -> StreamState:
    """A stream before its first tick. `decoder_state`: before latent frame 0."""
    tick = plan.tick(0)
    return StreamState(
        tick=tick,
        origin=0,
        done=0,
        finishes=_finished_by(tick, 0),
        levels=tuple({} for _ in range(plan.steps + 1)),
        decoder_states={-1: decoder_state},
        audio_features={},
        audio=(SpeakerAudio(),) * speakers,
        emotions=(SpeakerEmotion(),) * speakers,
    )


def first_latent_from(frame: int) -> int:
    """The first latent frame whose video frames all lie at or after video frame `frame`."""
    return (frame + 2 * FRAMES_PER_LATENT - 2) // FRAMES_PER_LATENT if frame > 0 else 0


def _finished_by(tick: TickPlan, done: int) -> range:
    return range(done, max(done, tick.final_before))


def advanced(state: StreamState, plan: WindowPlan) -> StreamState:
    """`state` after its tick: all that neither a later tick nor a rewind can need is dropped."""
    done, tick = state.finishes.stop, plan.tick(state.tick.at + plan.hop)
    earliest = max(0, done - HISTORY_LATENTS)
    oldest = earliest - state.tick.reach
    for kept in (*state.levels, state.audio_features):
        _drop(kept, [n for n in kept if n < oldest])
    _drop(state.decoder_states, [n for n in state.decoder_states if n < earliest - 1])
    return replace(
        state,
        tick=tick,
        done=done,
        finishes=_finished_by(tick, done),
        audio=forget(state.audio, oldest_needed_sample(max(0, oldest))),
    )


def rewound(
    state: StreamState, plan: WindowPlan, frame: int, cleared: frozenset[int]
) -> StreamState:
    """`state` as it was before `frame`; the audio of the `cleared` speakers ends at that frame.

    BadInput if the frame is not within the last HISTORY_FRAMES.
    """
    latent = first_latent_from(frame)
    if not 0 <= frame <= state.next_frame or latent - 1 not in state.decoder_states:
        oldest = max(0, state.next_frame - HISTORY_FRAMES)
        raise BadInput(
            f"Cannot rewind to frame {frame}: frames {oldest} to {state.next_frame} are kept.",
            param="frame",
        )
    sample = frame * SAMPLES_PER_FRAME
    for level in state.levels[1:]:
        _drop(level, [n for n in level if n >= latent])
    _drop(state.decoder_states, [n for n in state.decoder_states if n >= latent])
    if cleared:
        changed = [n for n in state.audio_features if needed_samples(n) > sample]
        _drop(state.audio_features, changed)
    audio = tuple(
        truncate(one, sample) if place in cleared else one for place, one in enumerate(state.audio)
    )
    tick = plan.tick(latent)
    return replace(
        state,
        tick=tick,
        origin=latent,
        done=latent,
        finishes=_finished_by(tick, latent),
        audio=audio,
    )


def _drop(kept: dict[int, V], latents: list[int]) -> None:
    for latent in latents:
        del kept[latent]
