"""The process of each rank of a pipeline but the first: it receives, runs its part, sends it on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from runtime.engine.torch_engine import default_engines
from runtime.multi_gpu.pipeline_link import Link, LinkClosed
from runtime.multi_gpu.pipeline_stage import PipelineStage, StreamRewind, StreamStart, TickPart
from runtime.stream.model import StreamModel
from runtime.stream.state import rewound
from runtime.stream.tick import TickStages
from runtime.values import Frame

NEIGHBOUR_LOST = 3  # exit code of a rank that ended because another one had

Loader = Callable[[torch.device], StreamModel]


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank runs. All ranks use the same `threads`, which keeps sums in the same order."""

    rank: int
    ranks: int
    device: str
    meeting: Path
    threads: int


def run_rank(place: RankPlace, loader: Loader, answers: Connection, frames: Connection) -> None:
    """Loads the model and serves until a neighbour is gone; `answers` reports what is done.

    The last rank sends the frames of every tick through `frames`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first rank decides when to end
    torch.set_num_threads(place.threads)
    device = torch.device(place.device)
    model = loader(device)
    answers.send("loaded")
    link = Link(place.meeting, place.rank, place.ranks, device)
    try:
        _serve(place, model, link, answers, frames)
    except (LinkClosed, BrokenPipeError):
        sys.exit(NEIGHBOUR_LOST)


def _serve(
    place: RankPlace, model: StreamModel, link: Link, answers: Connection, frames: Connection
) -> None:
    is_first, is_last = place.rank == 1, place.rank == place.ranks - 1
    stream: RankStream | None = None
    while True:
        message: StreamStart | StreamRewind | TickPart = link.receive(place.rank - 1)
        if isinstance(message, TickPart):
            if is_first:
                answers.send("received")
            assert stream is not None, "a stream starts before its ticks"
            message, made = stream.run(message)
            if is_last:
                frames.send(made)
        if not is_last:
            link.send(message, place.rank + 1)
        if isinstance(message, StreamStart):
            stream = RankStream(model, message, place.rank, place.ranks)
            answers.send("started")
        if isinstance(message, StreamRewind):
            assert stream is not None, "a stream starts before it rewinds"
            stream.rewind(message)
            answers.send("rewound")


class RankStream:
    """This rank's part of one stream, and what it remembers of it."""

    def __init__(self, model: StreamModel, start: StreamStart, rank: int, ranks: int) -> None:
        stages = TickStages(
            model, start.character, start.preset, start.seed, engines=default_engines(model)
        )
        self._stage = PipelineStage(stages, rank, ranks)
        self._plan = stages.plan
        self._state = stages.initial_state()

    def run(self, part: TickPart) -> tuple[TickPart, Sequence[Frame]]:
        """The part of the next rank, and the frames if this rank decodes."""
        self._state, onward, frames = self._stage.run(self._state, part)
        return onward, frames

    def rewind(self, rewind: StreamRewind) -> None:
        """Forgets the video from a frame on, as the first rank has done."""
        self._state = rewound(self._state, self._plan, rewind.frame, frozenset())
