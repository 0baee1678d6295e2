"""What one rank of a pipelined stream does of a tick: its denoising steps, or the decoding.

A window at step k needs latent frames of noise level k only, and those come from step k - 1 of
ticks up to its own. So a rank keeps the levels of its steps and sends on what it has updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runtime.character.character import Character
from runtime.errors import BadInput
from runtime.stream.presets import StreamPreset
from runtime.stream.state import (
    SpeakerEmotion,
    StreamState,
    advanced,
    newly_final,
)
from runtime.stream.tick import TickStages
from runtime.values import Frame


@dataclass(frozen=True, slots=True)
class StreamStart:
    """All ranks begin a stream."""

    character: Character
    preset: StreamPreset
    seed: int


@dataclass(frozen=True, slots=True)
class StreamRewind:
    """All ranks forget the video from `frame` on."""

    frame: int


@dataclass(frozen=True, slots=True)
class TickPart:
    """A tick on its way from rank to rank."""

    at: int
    emotions: tuple[SpeakerEmotion, ...]
    encoded: tuple[int, ...]  # latent frames whose audio features are new
    audio_features: Tensor  # (len(encoded), S, 4, 10, layers, width)
    updated: tuple[int, ...]  # latent frames that the rank before has updated
    latents: Tensor  # (len(updated), C, h, w), at the noise level where the next rank begins


def steps_of(rank: int, ranks: int, steps: int) -> range:
    """The denoising steps that a rank owns; with one rank more than steps the last one decodes.

    The last rank decodes in any case, so if shares differ, its own is among the small ones.
    BadInput if some rank would have nothing to do.
    """
    if not 1 <= ranks <= steps + 1:
        raise BadInput(
            f"{ranks} devices share {steps} denoising steps; use at most {steps + 1}, one for each "
            "step and one for the decoder.",
            param="devices",
        )
    if ranks == steps + 1:
        return range(rank, min(rank + 1, steps))
    first, following = (-(-place * steps // ranks) for place in (rank, rank + 1))
    return range(first, following)


class PipelineStage:
    """One rank's part of each tick of a stream. The last rank decodes."""

    def __init__(self, stages: TickStages, rank: int, ranks: int) -> None:
        self._stages = stages
        self._share = steps_of(rank, ranks, stages.plan.steps)
        self._decodes = rank == ranks - 1

    @torch.inference_mode()
    def begin(self, state: StreamState) -> TickPart:
        """The next tick as the first rank begins it; all audio must be there."""
        known = set(state.audio_features)
        self._stages.encode_audio(state)
        encoded = tuple(sorted(set(state.audio_features) - known))
        nothing = self._stages.constants.silence.new_zeros(0)
        features = torch.stack([state.audio_features[n] for n in encoded]) if encoded else nothing
        return TickPart(state.tick.at, state.emotions, encoded, features, (), nothing)

    @torch.inference_mode()
    def run(
        self, state: StreamState, part: TickPart
    ) -> tuple[StreamState, TickPart, Sequence[Frame]]:
        """Runs this rank's steps: the state after them, the next rank's part, and the frames.

        Only the last rank has frames.
        """
        assert part.at == state.tick.at, (part.at, state.tick.at)
        state = replace(state, emotions=part.emotions)
        state.audio_features.update(zip(part.encoded, part.audio_features, strict=True))
        state.levels[self._share.start].update(zip(part.updated, part.latents, strict=True))
        windows = self._stages.window_inputs(state, self._share)
        for step in self._share:
            self._stages.denoise(state, step, windows)
        onward = self._onward(state, part)
        frames = self._end_tick(state)
        return advanced(state, self._stages.plan), onward, frames

    def _onward(self, state: StreamState, part: TickPart) -> TickPart:
        """The latent frames that this rank has updated, at the noise level that they have now."""
        if not self._share:
            return part
        held = state.levels[self._share.stop]
        updated = state.tick.steps[self._share[-1]].updated
        updated_here = tuple(n for n in updated if n >= state.origin)
        nothing = part.audio_features.new_zeros(0)
        latents = torch.stack([held[n] for n in updated_here]) if updated_here else nothing
        return replace(part, updated=updated_here, latents=latents)

    def _end_tick(self, state: StreamState) -> Sequence[Frame]:
        """Decodes the frames that are final now, on the last rank."""
        latents = newly_final(state)
        if self._decodes:
            return list(self._stages.decode(state, latents))
        before = state.decoder_states[state.done - 1]
        state.decoder_states.update(dict.fromkeys(latents, before))  # `rewound` looks for them
        return []
