"""TensorRT and TensorRT-RTX engines: fixed addresses, one CUDA graph for all parts of a call.

Every tensor has its place in GPU memory from the start. A call copies its inputs there and
replays the graph; nothing is allocated, and the host waits for nothing. Parts run one after the
other, so all share one piece of scratch memory, and what one hands on lies where the next reads:
in two places in turn, since an engine may write before it has read everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.engine.description import EngineDescription, TensorSpec
from runtime.engine.gpu.own_stream import OwnStream
from runtime.engine.parts import PREDICTION, named_values
from runtime.engine.trt.library import PLAN, TensorRT
from runtime.errors import EngineError
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import DecoderState
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Engines
from runtime.weights.checkpoint import AvatarModel

WARM_UPS = 2  # calls before a graph is captured: the first ones may still allocate

Found = tuple[Path, EngineDescription]


class TensorRTChain:
    """Engines that run one after the other as one CUDA graph; not for two threads at once."""

    def __init__(self, library: TensorRT, parts: Sequence[Found]) -> None:
        library.check_gpu()
        self._stream = OwnStream(torch.device("cuda", torch.cuda.current_device()))
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        engines = [_load(library, *part) for part in parts]
        scratch = max(int(engine.device_memory_size_v2) for engine in engines)
        self._scratch = torch.empty(max(scratch, 1), dtype=torch.uint8, device="cuda")
        self._contexts = [self._context(library, engine) for engine in engines]
        spare: dict[str, Tensor] = {}
        for context, (_, description) in zip(self._contexts, parts, strict=True):
            self._connect(context, description, spare)

    def _connect(
        self, context: Any, description: EngineDescription, spare: dict[str, Tensor]
    ) -> None:
        """Gives an engine its addresses. What it writes goes where the engine before the last one
        wrote that.
        """
        for spec in description.inputs:
            held = self._outputs.get(spec.name)
            if held is None:
                held = self._inputs.setdefault(spec.name, _place(spec))
            context.set_tensor_address(spec.name, held.data_ptr())
        for spec in description.outputs:
            name = spec.name.removesuffix("_out")
            place = spare.pop(name) if name in spare else _place(spec)
            if name in self._outputs:
                spare[name] = self._outputs[name]
            self._outputs[name] = place
            context.set_tensor_address(spec.name, place.data_ptr())

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Everything that the engines hand on; the tensors are overwritten by the next call."""
        with self._stream.turn():
            for name, place in self._inputs.items():
                _copy(name, values[name], place)
            self._launch()
        return self._outputs

    def _launch(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        self._enqueue()
        self._calls += 1
        if self._calls == WARM_UPS:
            self._graph = torch.cuda.CUDAGraph()
            stream = self._stream.cuda
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._enqueue()

    def _enqueue(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        for context in self._contexts:
            if not context.execute_async_v3(stream):
                raise EngineError("TensorRT refused to run an engine; its log above says why.")

    def _context(self, library: TensorRT, engine: Any) -> Any:
        strategy = library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is None:
            raise EngineError(
                f"{library.version} has no memory left for an execution context. Serve fewer "
                "presets or speakers, or a smaller picture."
            )
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        return context


class TensorRTDenoiser:
    def __init__(self, chain: TensorRTChain) -> None:
        self._chain = chain

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        return self._chain.run(named_values(x, step, window))[PREDICTION].to(x)


class TensorRTDecoder:
    def __init__(self, chain: TensorRTChain) -> None:
        self._chain = chain

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        values = {"latent": latent, "previous": state.previous, **state.anchor._asdict()}
        return self._chain.run(values)["pictures"].to(latent), DecoderState(state.anchor, latent)


class TensorRTAudioEncoder:
    """One window of sound at a time."""

    def __init__(self, chain: TensorRTChain, config: AudioEncoderConfig) -> None:
        self.config = config
        self._chain = chain

    def __call__(self, mel: Tensor) -> Tensor:
        windows = ({"mel": one[None]} for one in mel)
        return torch.cat([self._chain.run(one)["states"].to(mel, copy=True) for one in windows])


def open_denoiser(kind: str, parts: Sequence[Found]) -> TensorRTDenoiser:
    """The denoiser alone, on the current GPU."""
    return TensorRTDenoiser(TensorRTChain(TensorRT.named(kind), parts))


def open_tensorrt(
    kind: str, model: AvatarModel, denoiser: Sequence[Found], decoder: Found, encoder: Found
) -> Engines:
    """The engines of a stream, on the current GPU."""
    library = TensorRT.named(kind)
    return Engines(
        open_denoiser(kind, denoiser),
        TensorRTDecoder(TensorRTChain(library, [decoder])),
        TensorRTAudioEncoder(TensorRTChain(library, [encoder]), model.audio_encoder.config),
    )


def _load(library: TensorRT, folder: Path, description: EngineDescription) -> Any:
    trt = library.module
    logger = trt.Logger(trt.Logger.ERROR)
    engine = trt.Runtime(logger).deserialize_cuda_engine((folder / PLAN).read_bytes())
    if engine is None:
        raise EngineError(
            f"{library.version} on {torch.cuda.get_device_name()} cannot load {folder / PLAN}, "
            f"built with {description.built.library} for {description.built.gpu}. Build it "
            f"again here: avatar export {description.built.kind}."
        )
    return engine


def _place(spec: TensorSpec) -> Tensor:
    return torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")


def _copy(name: str, value: Tensor, place: Tensor) -> None:
    if value.shape != place.shape:
        raise EngineError(
            f"The engine was built for {name} {tuple(place.shape)} and got {tuple(value.shape)}. "
            "Build one for this preset and these speakers with `avatar export`."
        )
    place.copy_(value, non_blocking=True)
