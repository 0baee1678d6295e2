"""A training step as one CUDA graph: a small model's thousands of kernels, launched at once.

A step is a function of dataclasses and tuples of tensors that draws no random numbers and waits for
nothing. Each shape of its arguments is captured the first time that it comes; then a call copies
its arguments into those of the capture and replays. A step that cannot be captured raises.
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
WARM_UPS = 3  # calls before a capture: libraries choose kernels and make their workspaces


def copied(value: Value) -> Value:
    """The same with tensors of its own, each in memory without gaps or repeats."""
    own = (tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors_in(value))
    return cast("Value", with_tensors(value, own))


@dataclass(frozen=True, slots=True)
class _Capture(Generic[Result]):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: Result


class StepGraphs(Generic[Result]):
    """`step` by graphs. A result is valid until the next call: all captures share their memory."""

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
