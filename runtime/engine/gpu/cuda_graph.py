"""A denoiser or decoder recorded as one CUDA graph: fixed addresses, one launch a call.

    denoiser = GraphedDenoiser(model.dit)
    out = denoiser.denoise(x, step, window)     # the first call records, the others replay

Inputs are copied to where the recording found them, on a stream of its own (own_stream.py). A
video's shapes never change, so one recording serves it for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from runtime.engine.gpu.own_stream import OwnStream
from runtime.errors import BadInput, Unsupported
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Decoder, Denoiser

WARM_UP_CALLS = 3  # what torch's documentation of CUDA graphs asks for


class Recording:
    """Replays what a function of tensors, and of dataclasses and tuples of them, first launched."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work
        self._recorded: _Recorded | None = None

    @torch.inference_mode()
    def __call__(self, *given: Any) -> Any:
        """The function's result, valid until the next call: it lies at one address.

        BadInput for other shapes than those of the first call, Unsupported without a GPU.
        """
        if self._recorded is None:
            self._recorded = _record(self._work, given)
        recorded, tensors = self._recorded, tuple(tensors_in(given))
        if [t.shape for t in tensors] != [t.shape for t in recorded.places]:
            raise BadInput(
                "These inputs have other shapes than the recorded ones. Make an engine for each "
                "shape of window."
            )
        with recorded.stream.turn():
            for place, tensor in zip(recorded.places, tensors, strict=True):
                place.copy_(tensor)
            recorded.graph.replay()
        return recorded.result


@dataclass(frozen=True, slots=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    stream: OwnStream
    places: tuple[Tensor, ...]  # of the inputs
    result: Any


def _record(work: Callable[..., Any], given: tuple[Any, ...]) -> _Recorded:
    device = next(tensors_in(given)).device
    if device.type != "cuda":
        raise Unsupported(f"CUDA graphs need an NVIDIA GPU, found {device}.", param="engine")
    stream = OwnStream(device)
    places = tuple(tensor.clone() for tensor in tensors_in(given))
    placed = with_tensors(given, iter(places))
    with stream.turn():
        for _ in range(WARM_UP_CALLS):
            work(*placed)
    graph = torch.cuda.CUDAGraph()
    # Other threads may ask for memory and events (handover.py) meanwhile: only this one may not.
    with torch.cuda.graph(graph, stream=stream.cuda, capture_error_mode="thread_local"):
        result = work(*placed)
    return _Recorded(graph, stream, places, result)


class GraphedDenoiser:
    """Replays what another denoiser launched when it was first called.

    All latent frames are recorded, however few are asked for: presets with windows of one length
    share a recording, and each takes as many of the last as it moves.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self._recording = Recording(denoiser.denoise)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        """As the recorded denoiser, errors as `Recording`; the output is overwritten by the next
        call.
        """
        out: Tensor = self._recording(x, step, replace(window, newest=None))
        return out


class GraphedDecoder:
    """Replays what another decoder launched when it was first called."""

    def __init__(self, decoder: Decoder) -> None:
        self._recording = Recording(decoder.decode)

    def decode(self, latent: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As the recorded decoder, errors as `Recording`; pictures and state are the caller's."""
        decoded = self._recording(latent, state)
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
    """`value` with the next of `tensors` in place of each of its own, in that order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple):
        inner = [with_tensors(each, tensors) for each in value]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: with_tensors(getattr(value, f.name), tensors) for f in fields(value)}
        return replace(value, **parts)
    return value
