"""TensorRT and TensorRT-RTX engines: fixed addresses, one CUDA graph for all parts of a call.

Every tensor has its address in GPU memory from the start. A call copies its inputs there and
replays the graph; nothing is allocated, and the host never waits. Parts run one after the other, so
all share one piece of scratch memory, and each part reads its inputs where the part before wrote
them. Two buffers alternate for such a tensor, since an engine may write before it has read
everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.engine.description import EngineDescription, LocatedEngine, TensorSpec
from runtime.engine.gpu.cuda_graph import capture
from runtime.engine.gpu.own_stream import OwnStream
from runtime.engine.parts import PREDICTION, named_values
from runtime.engine.trt.library import PLAN, TensorRT
from runtime.errors import EngineError
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import DecoderState
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Engines
from runtime.weights.checkpoint import AvatarModel


class TensorRTChain:
    """Engines that run one after the other as one CUDA graph; not for two threads at once."""

    def __init__(self, library: TensorRT, parts: Sequence[LocatedEngine]) -> None:
        library.check_gpu()
        self._stream = OwnStream(torch.device("cuda", torch.cuda.current_device()))
        self._graph: torch.cuda.CUDAGraph | None = None  # captured at the first call
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
        """Give an engine its addresses.

        An output takes the buffer of the same tensor that the engine before the last one wrote.
        """
        for spec in description.inputs:
            buffer = self._outputs.get(spec.name)
            if buffer is None:
                buffer = self._inputs.setdefault(spec.name, _buffer(spec))
            context.set_tensor_address(spec.name, buffer.data_ptr())
        for spec in description.outputs:
            name = spec.name.removesuffix("_out")
            buffer = spare.pop(name) if name in spare else _buffer(spec)
            if name in self._outputs:
                spare[name] = self._outputs[name]
            self._outputs[name] = buffer
            context.set_tensor_address(spec.name, buffer.data_ptr())

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of all engines by name; the next call overwrites them."""
        if self._graph is None:
            self._graph, _ = capture(self._enqueue, self._stream)
        with self._stream.turn():
            for name, buffer in self._inputs.items():
                _copy(name, values[name], buffer)
            self._graph.replay()
        return self._outputs

    def _enqueue(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        for context in self._contexts:
            if not context.execute_async_v3(stream):
                raise EngineError(
                    "TensorRT could not run an engine; its log above says why. If it gives no "
                    "reason, build the engine again with `avatar export`."
                )

    def _context(self, library: TensorRT, engine: Any) -> Any:
        strategy = library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is None:
            raise EngineError(
                f"{library.version} has no memory left for an execution context. Serve fewer "
                "presets or speakers, or smaller frames."
            )
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        return context


class TensorRTDenoiser:
    """The denoiser in one or more engines."""

    def __init__(self, chain: TensorRTChain) -> None:
        self._chain = chain

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        return self._chain.run(named_values(x, step, window))[PREDICTION].to(x)


class TensorRTDecoder:
    """The built-in autoencoder's decoder."""

    def __init__(self, chain: TensorRTChain) -> None:
        self._chain = chain

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        values = {"latent": latent, "previous": state.previous, **state.reference._asdict()}
        return self._chain.run(values)["pictures"].to(latent), DecoderState(state.reference, latent)


class TensorRTAudioEncoder:
    """The built-in audio encoder; encodes one window of sound at a time."""

    def __init__(self, chain: TensorRTChain, config: AudioEncoderConfig) -> None:
        self.config = config
        self._chain = chain

    def __call__(self, mel: Tensor) -> Tensor:
        windows = ({"mel": one[None]} for one in mel)
        return torch.cat([self._chain.run(one)["states"].to(mel, copy=True) for one in windows])


def open_denoiser(kind: str, parts: Sequence[LocatedEngine]) -> TensorRTDenoiser:
    """The denoiser on the current GPU."""
    return TensorRTDenoiser(TensorRTChain(TensorRT.named(kind), parts))


def open_tensorrt(
    kind: str,
    model: AvatarModel,
    denoiser: Sequence[LocatedEngine],
    decoder: LocatedEngine,
    encoder: LocatedEngine,
) -> Engines:
    """The engines of a stream on the current GPU."""
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


def _buffer(spec: TensorSpec) -> Tensor:
    return torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")


def _copy(name: str, value: Tensor, buffer: Tensor) -> None:
    if value.shape != buffer.shape:
        raise EngineError(
            f"The engine was built for {name} {tuple(buffer.shape)} and got {tuple(value.shape)}. "
            "Build one for this preset and these speakers with `avatar export`."
        )
    buffer.copy_(value, non_blocking=True)
