"""What one rank of a pipelined stream does of a tick: its denoising steps, or the decoding.

A window at step k needs latent frames of level k only, and those come from step k - 1 of ticks up
to its own. So a rank keeps the levels of its steps and sends on what it moved. Every rank is a
whole `StreamingGenerator`; what a rank does not need of it stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput
from runtime.models.dit.conditioning import WindowInputs
from runtime.stream.generator import StreamingGenerator
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.state import Mood, rewound, trimmed
from runtime.values import Frame


@dataclass(frozen=True, slots=True)
class StreamStart:
    """All ranks begin a stream."""

    character: Character
    preset: StreamPreset
    seed: int


@dataclass(frozen=True, slots=True)
class StreamRewind:
    """All ranks go back to the pictures of video frame `frame`."""

    frame: int


@dataclass(frozen=True, slots=True)
class TickPart:
    """A tick on its way from rank to rank."""

    at: int
    moods: tuple[Mood, ...]
    heard: tuple[int, ...]  # latent frames whose sound is new
    sounds: Tensor  # (len(heard), S, 4, 10, layers, width)
    moved: tuple[int, ...]  # latent frames that the rank before has moved
    latents: Tensor  # (len(moved), C, h, w), at the level where the next rank begins


def steps_of(rank: int, ranks: int, steps: int) -> range:
    """The denoising steps that a rank owns; with one rank more than steps the last one decodes.

    The last rank decodes anyway: where shares differ, its own is among the small ones.
    BadInput where there is nothing to do for some rank.
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


class PipelineStage(StreamingGenerator):
    """One rank's part of a stream. The last rank decodes."""

    def __init__(self, model: StreamModel, start: StreamStart, rank: int, ranks: int) -> None:
        engines = default_engines(model)
        super().__init__(model, start.character, start.preset, start.seed, engines=engines)
        self.share = steps_of(rank, ranks, start.preset.steps)
        self._decodes = rank == ranks - 1

    @torch.inference_mode()
    def hear(self) -> TickPart:
        """The next tick as the first rank begins it; all sound must be there."""
        state = self.state
        known = set(state.sounds)
        self._hear(range(max(0, self.plan.oldest_seen(state.at)), state.at + self.plan.hop))
        heard = tuple(sorted(set(state.sounds) - known))
        nothing = self._scene.silence.new_zeros(0)
        sounds = torch.stack([state.sounds[n] for n in heard]) if heard else nothing
        return TickPart(state.at, state.moods, heard, sounds, (), nothing)

    @torch.inference_mode()
    def run(self, part: TickPart) -> tuple[TickPart, list[Frame]]:
        """This rank's steps: what the next rank needs, and the frames if this one decodes."""
        assert part.at == self.state.at, (part.at, self.state.at)
        self.state = replace(self.state, moods=part.moods)
        state = self.state
        state.sounds.update(zip(part.heard, part.sounds, strict=True))
        state.levels[self.share.start].update(zip(part.moved, part.latents, strict=True))
        told: dict[range, WindowInputs] = {}
        for step in self.share:
            self._denoise(step, told)
        onward = self._onward(part)
        return onward, self._end_tick()

    def go_back(self, rewind: StreamRewind) -> None:
        """Forgets the pictures from a frame on, as the first rank has done."""
        self.state = rewound(self.state, rewind.frame, frozenset())

    def _onward(self, part: TickPart) -> TickPart:
        """The latent frames that this rank has moved, at the level that they have now."""
        level = self.share.stop
        held = self.state.levels[level]
        moved = tuple(n for n in self.plan.moved(part.at, level - 1) if n >= self.state.origin)
        latents = torch.stack([held[n] for n in moved]) if moved else part.sounds.new_zeros(0)
        return replace(part, moved=moved, latents=latents)

    def _end_tick(self) -> list[Frame]:
        """Decodes what is final, on the last rank, and moves on."""
        state = self.state
        final = max(state.done, self.plan.final_before(state.at))
        latents = range(state.done, final)
        frames = list(self._decode(latents)) if self._decodes else []
        if not self._decodes:  # `rewound` looks for them
            state.decoders.update(dict.fromkeys(latents, state.decoders[state.done - 1]))
        advanced = replace(state, at=state.at + self.plan.hop, done=final)
        self.state = trimmed(advanced, self.plan)
        return frames
