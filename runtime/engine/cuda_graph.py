"""A denoiser recorded as one CUDA graph: fixed addresses, one launch a call, no allocation.

    denoiser = GraphedDenoiser(model.dit)
    out = denoiser.denoise(x, step, window)     # the first call records, the others replay

Inputs are copied to where the recording found them. The output lies at one address as well: it is
valid until the next call. A stream's shapes never change, so one recording serves it for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from runtime.engine.base import Denoiser
from runtime.errors import BadInput, Unsupported
from runtime.models.conditioning import StepInputs, WindowInputs

WARM_UP_CALLS = 3  # what torch's documentation of CUDA graphs asks for


class GraphedDenoiser:
    """Replays what another denoiser launched when it was first called."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self._graph: torch.cuda.CUDAGraph | None = None
        self._places: tuple[Tensor, ...] = ()
        self._output: Tensor | None = None

    @torch.inference_mode()
    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As the recorded denoiser; BadInput for other shapes, Unsupported without a GPU."""
        if self._graph is None:
            self._record(x, step, window)
        given = tuple(tensors_in((x, step, window)))
        if [t.shape for t in given] != [t.shape for t in self._places]:
            raise BadInput(
                "These inputs have other shapes than the recorded ones. Make a denoiser for each "
                "shape of window."
            )
        for place, tensor in zip(self._places, given, strict=True):
            place.copy_(tensor)
        assert self._graph is not None
        assert self._output is not None
        self._graph.replay()
        return self._output

    def _record(self, x: Tensor, step: StepInputs, window: WindowInputs) -> None:
        if not x.is_cuda:
            raise Unsupported(f"CUDA graphs need an NVIDIA GPU, found {x.device}.", param="engine")
        given = (x, step, window)
        self._places = tuple(tensor.clone() for tensor in tensors_in(given))
        placed = with_tensors(given, iter(self._places))
        aside = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_CALLS):
                self._denoiser.denoise(*placed)
        torch.cuda.current_stream(x.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._denoiser.denoise(*placed)
        self._graph = graph


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of nested dataclasses and tuples, in a fixed order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for inner in value:
            yield from tensors_in(inner)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:
    """`value` with the next of `tensors` in place of each of its own, in that order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple):
        return tuple(with_tensors(inner, tensors) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: with_tensors(getattr(value, f.name), tensors) for f in fields(value)}
        return replace(value, **parts)
    return value
