"""The process of every rank of a pipeline but the first: it waits, runs its part, sends it on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from runtime.multi_gpu.pipeline_link import Link, LinkClosed
from runtime.multi_gpu.pipeline_stage import PipelineStage, StreamRewind, StreamStart, TickPart
from runtime.stream.model import StreamModel

NEIGHBOUR_LOST = 3  # exit code of a rank that ended because another one had

Loader = Callable[[torch.device], StreamModel]


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank runs. Equal `threads` on all ranks keep sums in the same order."""

    rank: int
    ranks: int
    device: str
    meeting: Path
    threads: int


def run_rank(place: RankPlace, loader: Loader, answers: Connection, frames: Connection) -> None:
    """Loads the model and serves until a neighbour is gone; `answers` says when something is done.

    The last rank puts the frames of every tick on `frames`.
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
    stage: PipelineStage | None = None
    while True:
        told: StreamStart | StreamRewind | TickPart = link.receive(place.rank - 1)
        if isinstance(told, TickPart):
            if is_first:
                answers.send("received")
            assert stage is not None, "a stream starts before its ticks"
            told, made = stage.run(told)
            if is_last:
                frames.send(made)
        if not is_last:
            link.send(told, place.rank + 1)
        if isinstance(told, StreamStart):
            stage = PipelineStage(model, told, place.rank, place.ranks)
            answers.send("started")
        if isinstance(told, StreamRewind):
            assert stage is not None, "a stream starts before it goes back"
            stage.go_back(told)
            answers.send("gone back")
