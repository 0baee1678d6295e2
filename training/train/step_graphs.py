"""A training step as one CUDA graph: the thousands of kernels of a small model in one launch.

A step is a function of dataclasses and tuples of tensors. It must not draw random numbers or wait
for the device. The first call with new argument shapes captures a graph; later calls copy their
arguments into the graph's inputs and replay it. A step that cannot be captured raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

from runtime.engine.gpu.cuda_graph import tensors_in, with_tensors

Result = TypeVar("Result")
Value = TypeVar("Value")
WARM_UPS = 3  # calls before a capture, in which libraries choose kernels and allocate workspaces


def copied(value: Value) -> Value:
    """A copy whose tensors are contiguous and share no memory."""
    own = (tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors_in(value))
    return cast("Value", with_tensors(value, own))


@dataclass(frozen=True, slots=True)
class _Capture(Generic[Result]):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: Result


class StepGraphs(Generic[Result]):
    """Runs `step` as CUDA graphs. A result is valid until the next call: graphs share memory."""

    def __init__(self, step: Callable[..., Result]) -> None:
        self.step = step
        self._pool = torch.cuda.graph_pool_handle()
        self._captures: dict[tuple[torch.Size, ...], _Capture[Result]] = {}

    def __call__(self, *arguments: object) -> Result:
        fresh = tuple(tensors_in(arguments))
        shapes = tuple(tensor.shape for tensor in fresh)
        if shapes not in self._captures:
            self._captures[shapes] = self._capture(arguments)
        capture = self._captures[shapes]
        torch._foreach_copy_(capture.inputs, fresh)
        capture.graph.replay()
        return capture.result

    def _capture(self, arguments: tuple[object, ...]) -> _Capture[Result]:
        kept = copied(arguments)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.step(*kept)
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = self.step(*kept)
        return _Capture(graph, tuple(tensors_in(kept)), result)
