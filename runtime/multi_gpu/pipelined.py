"""One session on several devices of a machine: each rank owns some denoising steps.

    with Pipeline(partial(load_on, None), ("cuda:0", "cuda:1", "cuda:2")) as pipeline:
        stream = pipeline.open(find_character("mira"), find_preset("balanced"))
        stream.push("mira", samples)
        while stream.ready():
            for frame in stream.tick(): ...     # bit for bit those of StreamingGenerator

While rank 0 runs the first steps of tick j, rank 1 runs the next ones of tick j - 1, and so on, as
LiveAvatar's timestep-forcing pipeline does (arXiv 2512.04677). With R ranks, a stream takes 1 / R
of the time, and its first frame as long as before. The frames of a tick are returned R - 1 ticks
later, or when there is no audio for another tick.

The caller's process is rank 0, each other rank a process. If one of them dies, the call in progress
or the next one raises RankLost, and all of them end.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import torch

from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput, RankLost
from runtime.multi_gpu.pipeline_link import Link, LinkClosed
from runtime.multi_gpu.pipeline_rank import NEIGHBOUR_LOST, Loader, RankPlace, run_rank
from runtime.multi_gpu.pipeline_stage import (
    PipelineStage,
    StreamRewind,
    StreamStart,
    TickPart,
    steps_of,
)
from runtime.stream.generator import StreamingGenerator, never
from runtime.stream.presets import StreamPreset
from runtime.values import Frame

END_S = 2.0  # how long a killed process may take to end
NOTICES, NOTICE_S = 5, 0.1  # how often and how long to wait until a process's end is known


class Pipeline:
    """The ranks, each with the model loaded. Runs one stream at a time.

    `loader(device)` returns the model on a device. It is called in each process, so it must be a
    function of a module, or a partial of one. A rank that does not answer for `stall_s` counts as
    dead.
    """

    def __init__(self, loader: Loader, devices: Sequence[str], stall_s: float = 60.0) -> None:
        if len(devices) < 2:
            raise BadInput(
                f"A pipeline needs two devices or more, but there is {list(devices)}. "
                "Use StreamingGenerator on one.",
                param="devices",
            )
        self.ranks = len(devices)
        self.under_way = 0  # ticks whose frames are not received yet
        self._stall_s = stall_s
        self._awaits_receipt = False
        self._failure: str | None = None
        self._stream: PipelinedGenerator | None = None
        self._folder = TemporaryDirectory(prefix="avatar-pipeline-")
        self.processes: list[BaseProcess] = []
        self._answers: list[Connection] = []
        meeting = Path(self._folder.name) / "meeting"
        self._frames = self._start_ranks(loader, devices, meeting)
        try:
            own = torch.device(devices[0])
            self.model = loader(own)
            self._await_all()
            self._link = Link(meeting, 0, self.ranks, own)
        except BaseException:
            self.close()
            raise

    def _start_ranks(self, loader: Loader, devices: Sequence[str], meeting: Path) -> Connection:
        """Starts the processes of ranks 1 and up; returns the end of the last one's frames."""
        context = multiprocessing.get_context("forkserver")  # CUDA does not survive a plain fork
        context.set_forkserver_preload(["runtime.multi_gpu.pipeline_rank"])
        frames, frames_end = context.Pipe(duplex=False)
        for rank, device in enumerate(devices[1:], start=1):
            place = RankPlace(rank, self.ranks, device, meeting, torch.get_num_threads())
            answers, answers_end = context.Pipe(duplex=False)
            process = context.Process(
                target=run_rank,
                args=(place, loader, answers_end, frames_end),
                name=f"rank {rank}",
                daemon=True,
            )
            process.start()
            answers_end.close()
            self.processes.append(process)
            self._answers.append(answers)
        frames_end.close()
        return frames

    def open(self, character: Character, preset: StreamPreset, seed: int = 0) -> PipelinedGenerator:
        """A new stream; the one before ends. BadInput if there are more devices than work."""
        steps_of(0, self.ranks, preset.steps)
        start = StreamStart(character, preset, seed)
        self._drain()
        self._send(start)
        self._stream = PipelinedGenerator(self, start)
        self._await_all()
        return self._stream

    def rewind(self, rewind: StreamRewind) -> None:
        """Rewinds all ranks; drops the ticks under way."""
        self._drain()
        self._send(rewind)
        self._await_all()

    def run(self, part: TickPart) -> None:
        """Sends a tick to rank 1."""
        self._send(part)
        self._awaits_receipt = True
        self.under_way += 1

    def frames(self) -> list[Frame]:
        """The frames of the oldest tick under way; waits for them."""
        frames: list[Frame] = self._receive(self._frames, self._stall_s)
        self.under_way -= 1
        return frames

    def check(self, stream: PipelinedGenerator) -> None:
        """RankLost if a rank has ended, BadInput if `stream` is not the newest."""
        self._check_ranks()
        if stream is not self._stream:
            raise BadInput(
                "This stream has ended: another one was opened on its pipeline. Use that one, or "
                "open a new one."
            )

    def _drain(self) -> None:
        while self.under_way:
            self.frames()

    def _send(self, value: StreamStart | StreamRewind | TickPart) -> None:
        """Sends a value to rank 1, after it has received the one before."""
        self._check_ranks()
        if self._awaits_receipt:
            self._receive(self._answers[0], self._stall_s)
            self._awaits_receipt = False
        try:
            self._link.send(value, 1)
        except LinkClosed:
            raise self._lost() from None

    def _await_all(self) -> None:
        """Waits until all ranks have answered that they are done; loading may take minutes."""
        for answers in self._answers:
            self._receive(answers, None)

    def _check_ranks(self) -> None:
        if self._failure is not None or wait([p.sentinel for p in self.processes], 0):
            raise self._lost()

    def _receive(self, source: Connection, timeout_s: float | None) -> Any:
        """The next message of a rank; RankLost as soon as any of them has ended."""
        ready = wait([source, *(process.sentinel for process in self.processes)], timeout_s)
        if ready != [source]:
            raise self._lost()
        try:
            return source.recv()
        except (EOFError, ConnectionResetError):
            raise self._lost() from None

    def _lost(self) -> RankLost:
        """Ends all ranks; the error names the first one that ended."""
        if self._failure is None:
            reason = self._first_to_end() or f"no rank has answered for {self._stall_s:g} s"
            self._failure = (
                f"The pipeline of {self.ranks} devices broke: {reason}. Its session is over. See "
                "that rank's output above, and open another pipeline."
            )
            self.close()
        return RankLost(self._failure)

    def _first_to_end(self) -> str | None:
        """The rank that ended by itself, not because a neighbour had ended."""
        ended: list[str] = []
        for _ in range(NOTICES):
            for process in self.processes:
                if process.exitcode not in (None, NEIGHBOUR_LOST):
                    return f"{process.name} ended with code {process.exitcode}"
            ended = [process.name for process in self.processes if process.exitcode is not None]
            wait([p.sentinel for p in self.processes if p.exitcode is None], NOTICE_S)
        return f"{ended[0]} lost its neighbour" if ended else None

    def close(self) -> None:
        """Ends all other ranks."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join(END_S)
        for pipe in (self._frames, *self._answers):
            pipe.close()
        self._folder.cleanup()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class PipelinedGenerator(StreamingGenerator):
    """A stream like `StreamingGenerator`, of which this process is the first rank."""

    def __init__(self, pipeline: Pipeline, start: StreamStart) -> None:
        model = pipeline.model
        super().__init__(
            model, start.character, start.preset, start.seed, engines=default_engines(model)
        )
        self._stage = PipelineStage(self.stages, 0, pipeline.ranks)
        self._pipeline = pipeline
        self._returned = 0  # frames

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that is not returned yet."""
        return self._returned

    def ready(self) -> bool:
        """Is there audio for another tick, or are frames under way?"""
        return super().ready() or self._pipeline.under_way > 0

    def begin_tick(self, is_cancelled: Callable[[], bool] = never) -> list[Frame]:
        """Begins another tick, if there is audio; returns the frames of the oldest one under way.

        A tick is never cancelled: other ranks work on it.
        """
        self._pipeline.check(self)
        if not super().ready():
            return self._collect() if self._pipeline.under_way else []
        self.state, part, _ = self._stage.run(self.state, self._stage.begin(self.state))
        is_full = self._pipeline.under_way == self._pipeline.ranks - 1
        frames = self._collect() if is_full else []
        self._pipeline.run(part)
        return frames

    def rewind(self, frame: int, clear: Collection[str] | None = None) -> int:
        """As `StreamingGenerator.rewind`; drops the ticks under way.

        4 s before the newest tick under way are kept.
        """
        if frame > self.next_frame:
            raise BadInput(
                f"Cannot rewind to frame {frame}: the newest is {self.next_frame - 1}.",
                param="frame",
            )
        self._pipeline.check(self)
        resumed = super().rewind(frame, clear)
        self._pipeline.rewind(StreamRewind(frame))
        self._returned = self.state.next_frame
        return resumed

    def _collect(self) -> list[Frame]:
        """The frames of the oldest tick under way."""
        frames = self._pipeline.frames()
        if frames:
            self._returned = frames[-1].index + 1
        return frames
