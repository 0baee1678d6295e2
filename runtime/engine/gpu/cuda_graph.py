"""A denoiser or decoder captured as one CUDA graph: fixed addresses, one launch a call.

    denoiser = GraphedDenoiser(model.dit)
    out = denoiser.denoise(x, step, window)     # the first call captures, later ones replay

Inputs are copied to the addresses of the capture, on the engine's own stream (own_stream.py). The
shapes of a stream never change, so one capture serves all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from runtime.engine.gpu.own_stream import OwnStream
from runtime.errors import BadInput, Unsupported
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Decoder, Denoiser

WARM_UP_CALLS = 3  # the number in torch's documentation of CUDA graphs

Result = TypeVar("Result")


def capture(work: Callable[[], Result], stream: OwnStream) -> tuple[torch.cuda.CUDAGraph, Result]:
    """Call `work` to warm up, then capture one more call of it as a CUDA graph on `stream`.

    `work` reads and writes fixed addresses. The result is that of the captured call: each replay
    overwrites it.
    """
    with stream.turn():
        for _ in range(WARM_UP_CALLS):
            work()
    graph = torch.cuda.CUDAGraph()
    # Other threads may allocate memory and create events (stream/readback.py) meanwhile.
    with torch.cuda.graph(graph, stream=stream.cuda, capture_error_mode="thread_local"):
        result = work()
    return graph, result


class GraphedFunction:
    """A function of tensors, captured at its first call and replayed from then on.

    Arguments and result may also be dataclasses and tuples of tensors.
    """

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work
        self._captured: _Captured | None = None

    @torch.inference_mode()
    def __call__(self, *inputs: Any) -> Any:
        """The function's result; the next call overwrites it.

        Raises BadInput for other shapes than those of the first call, Unsupported without a GPU.
        """
        if self._captured is None:
            self._captured = self._capture(inputs)
        captured, tensors = self._captured, tuple(tensors_in(inputs))
        if [t.shape for t in tensors] != [t.shape for t in captured.inputs]:
            raise BadInput(
                "These inputs have other shapes than the captured ones. Open an engine for each "
                "shape of window."
            )
        with captured.stream.turn():
            for own, tensor in zip(captured.inputs, tensors, strict=True):
                own.copy_(tensor)
            captured.graph.replay()
        return captured.result

    def _capture(self, inputs: tuple[Any, ...]) -> _Captured:
        device = next(tensors_in(inputs)).device
        if device.type != "cuda":
            raise Unsupported(
                f"CUDA graphs need an NVIDIA GPU, but the tensors are on {device}. Use another "
                "engine, or move the model to a GPU.",
                param="engine",
            )
        stream = OwnStream(device)
        own = tuple(tensor.clone() for tensor in tensors_in(inputs))
        arguments = with_tensors(inputs, iter(own))
        graph, result = capture(lambda: self._work(*arguments), stream)
        return _Captured(graph, stream, own, result)


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    stream: OwnStream
    inputs: tuple[Tensor, ...]  # at their fixed addresses
    result: Any


class GraphedDenoiser:
    """Another denoiser, captured at its first call.

    All latent frames are captured, even if the call asks for the newest only: presets with windows
    of the same length share a capture, and each takes as many of the last ones as it moves.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self._graphed = GraphedFunction(denoiser.denoise)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As the captured denoiser; the next call overwrites the output.

        Raises as `GraphedFunction`.
        """
        out: Tensor = self._graphed(x, step, replace(window, newest=None))
        return out


class GraphedDecoder:
    """Another decoder, captured at its first call."""

    def __init__(self, decoder: Decoder) -> None:
        self._graphed = GraphedFunction(decoder.decode)

    def decode(self, latent: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As the captured decoder; frames and state are copies that belong to the caller.

        Raises as `GraphedFunction`.
        """
        decoded = self._graphed(latent, state)
        kept: tuple[Tensor, Any] = with_tensors(decoded, (t.clone() for t in tensors_in(decoded)))
        return kept


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
    """`value` with its tensors replaced by `tensors`, in the order of `tensors_in`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple):
        inner = [with_tensors(each, tensors) for each in value]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: with_tensors(getattr(value, f.name), tensors) for f in fields(value)}
        return replace(value, **parts)
    return value
