"""One session on several devices of a machine: every rank owns some denoising steps.

    with Pipeline(partial(load_on, None), ("cuda:0", "cuda:1", "cuda:2")) as pipeline:
        stream = pipeline.open(find_character("ana"), find_preset("balanced"))
        stream.push("ana", samples)
        while stream.ready():
            for frame in stream.tick(): ...     # as StreamingGenerator, bit for bit

While rank 0 runs the first steps of tick j, rank 1 runs the next ones of tick j - 1, and so on, as
LiveAvatar's timestep-forcing pipeline does (arXiv 2512.04677): with R ranks a stream needs a share
of 1 / R of the time, and its first frame as much as before. The frames of a tick are returned R - 1
ticks later, or when there is no sound for another.

The caller's process is rank 0. The other ranks are processes of their own; if one of them dies,
the call in progress or the next one raises RankLost, and all of them end.
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
from runtime.stream.presets import StreamPreset
from runtime.timing import frames_for_samples
from runtime.values import Frame

END_S = 2.0  # how long a killed process may take to go
NOTICES, NOTICE_S = 5, 0.1  # how often and how long to wait for the news of a process's end


class Pipeline:
    """The ranks, each with the model loaded. Runs one stream at a time.

    `loader(device)` gives the model on a device; it is called in every process, so it must be a
    function of a module (or a partial of one). A rank that does not answer for `stall_s` counts as
    dead.
    """

    def __init__(self, loader: Loader, devices: Sequence[str], stall_s: float = 60.0) -> None:
        if len(devices) < 2:
            raise BadInput(
                f"A pipeline needs two devices or more, found {list(devices)}. "
                "Use StreamingGenerator on one.",
                param="devices",
            )
        self.ranks = len(devices)
        self.under_way = 0  # ticks whose frames have not come back
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
            self._hear_all()
            self._link = Link(meeting, 0, self.ranks, own)
        except BaseException:
            self.close()
            raise

    def _start_ranks(self, loader: Loader, devices: Sequence[str], meeting: Path) -> Connection:
        """Starts the processes of ranks 1 and up; where the last one puts its frames."""
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
        """A new stream; the one before ends. BadInput for more devices than there is work for."""
        steps_of(0, self.ranks, preset.steps)
        start = StreamStart(character, preset, seed)
        self._drain()
        self._send(start)
        self._stream = PipelinedGenerator(self, start)
        self._hear_all()
        return self._stream

    def go_back(self, rewind: StreamRewind) -> None:
        """Lets all ranks go back; what is under way is dropped."""
        self._drain()
        self._send(rewind)
        self._hear_all()

    def run(self, part: TickPart) -> None:
        """Hands a tick to rank 1; its frames will come."""
        self._send(part)
        self._awaits_receipt = True
        self.under_way += 1

    def frames(self) -> list[Frame]:
        """What the last rank has made of the oldest tick under way; waits for it."""
        found: list[Frame] = self._hear(self._frames, self._stall_s)
        self.under_way -= 1
        return found

    def check(self, stream: PipelinedGenerator) -> None:
        """RankLost where a rank has ended, BadInput where `stream` is not the newest."""
        self._check_ranks()
        if stream is not self._stream:
            raise BadInput("This stream has ended: another one was opened on its pipeline.")

    def _drain(self) -> None:
        while self.under_way:
            self.frames()

    def _send(self, value: StreamStart | StreamRewind | TickPart) -> None:
        """Hands a value to rank 1, once it has taken the one before."""
        self._check_ranks()
        if self._awaits_receipt:
            self._hear(self._answers[0], self._stall_s)
            self._awaits_receipt = False
        try:
            self._link.send(value, 1)
        except LinkClosed:
            raise self._lost() from None

    def _hear_all(self) -> None:
        """Waits until every rank has said that it is done; loading may take minutes."""
        for answers in self._answers:
            self._hear(answers, None)

    def _check_ranks(self) -> None:
        if self._failure is not None or wait([p.sentinel for p in self.processes], 0):
            raise self._lost()

    def _hear(self, source: Connection, timeout_s: float | None) -> Any:
        """What a rank says, or RankLost as soon as any of them has ended."""
        ready = wait([source, *(process.sentinel for process in self.processes)], timeout_s)
        if ready != [source]:
            raise self._lost()
        try:
            return source.recv()
        except (EOFError, ConnectionResetError):
            raise self._lost() from None

    def _lost(self) -> RankLost:
        """Ends all ranks; the error that says which one was the first to go."""
        if self._failure is None:
            found = self._first_to_end() or f"no rank has answered for {self._stall_s:g} s"
            self._failure = (
                f"The pipeline of {self.ranks} devices broke: {found}. Its session is over; see "
                "that rank's output above, and open another pipeline."
            )
            self.close()
        return RankLost(self._failure)

    def _first_to_end(self) -> str | None:
        """The rank that died by itself rather than because a neighbour had."""
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


class PipelinedGenerator(PipelineStage):
    """A stream like `StreamingGenerator`, of which this process is the first rank."""

    def __init__(self, pipeline: Pipeline, start: StreamStart) -> None:
        super().__init__(pipeline.model, start, 0, pipeline.ranks)
        self._pipeline = pipeline
        self._handed_out = 0  # frames

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that is not handed out yet."""
        return self._handed_out

    def ready(self) -> bool:
        """Is there sound for another tick, or are frames under way?"""
        return super().ready() or self._pipeline.under_way > 0

    def begin_tick(self, is_unwanted: Callable[[], bool] = lambda: False) -> list[Frame]:
        """Begins another tick, if there is sound; the frames of the oldest one under way.

        A tick is not given up: other ranks work on it.
        """
        self._pipeline.check(self)
        if not super().ready():
            return self._collect() if self._pipeline.under_way else []
        part, _ = self.run(self.hear())
        is_full = self._pipeline.under_way == self._pipeline.ranks - 1
        frames = self._collect() if is_full else []
        self._pipeline.run(part)
        return frames

    def flush(self) -> list[Frame]:
        """All frames of the sound pushed so far; ends the stream. The quieter are silent."""
        total = frames_for_samples(max(heard.stop for heard in self.state.heard))
        frames: list[Frame] = []
        while self.state.next_frame < total:
            for speaker_id in self.character.speaker_ids:
                self.fill_silence(speaker_id, self.needed_samples)
            frames += self.tick()
        while self._pipeline.under_way:
            frames += self._collect()
        return [frame for frame in frames if frame.index < total]

    def rewind(self, frame_index: int, clear: Collection[str] | None = None) -> int:
        """As `StreamingGenerator.rewind`; drops what is under way.

        4 s before the newest tick under way are kept.
        """
        if frame_index > self.next_frame:
            raise BadInput(
                f"Cannot go back to frame {frame_index}: the newest is {self.next_frame - 1}.",
                param="frame_index",
            )
        self._pipeline.check(self)
        resumed = super().rewind(frame_index, clear)
        self._pipeline.go_back(StreamRewind(frame_index))
        self._handed_out = self.state.next_frame
        return resumed

    def _collect(self) -> list[Frame]:
        """The frames of the oldest tick under way."""
        frames = self._pipeline.frames()
        if frames:
            self._handed_out = frames[-1].index + 1
        return frames
