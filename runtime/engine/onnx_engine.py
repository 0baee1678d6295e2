"""ONNX Runtime engines; they read and write tensors in place, on a CPU and on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from runtime.engine.description import EngineDescription, TensorSpec
from runtime.engine.gpu.own_stream import OwnStream
from runtime.engine.kinds import PROVIDERS
from runtime.engine.parts import PREDICTION, as_next_inputs, named_values
from runtime.errors import EngineError, Unsupported
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import DecoderState
from runtime.models.dit.conditioning import StepInputs, WindowInputs

if TYPE_CHECKING:
    import onnxruntime

MODEL = "model.onnx"
CPU = torch.device("cpu")


class OnnxPart:
    """One loaded ONNX file; `run` takes and gives tensors by name. Not for two threads at once.

    `provider`, a key of PROVIDERS, runs the whole graph on `device`; EngineError if it cannot.
    `threads` 0: as many as torch has.

    Tensors on the device are read in place, and every output has a fixed address. On a GPU a call
    runs on the part's own stream, after the caller's queued work and before its next work; the host
    never waits.
    """

    def __init__(
        self,
        folder: Path,
        description: EngineDescription,
        provider: str = "cpu",
        device: torch.device = CPU,
        threads: int = 0,
    ) -> None:
        self.description = description
        self._device = device
        self._stream = OwnStream(device) if device.type == "cuda" else None
        self._session = open_session(
            folder / MODEL,
            provider,
            threads or torch.get_num_threads(),
            None if self._stream is None else self._stream.cuda,
        )
        self._options = _onnxruntime().RunOptions()
        if self._stream is not None:
            self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._binding = self._session.io_binding()
        self._outputs = {spec.name: _buffer(spec, device) for spec in description.outputs}
        for spec in description.outputs:
            self._binding.bind_output(*_bound(spec, self._outputs[spec.name]))

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, valid until the next call; `values` may hold other tensors too."""
        with nullcontext() if self._stream is None else self._stream.turn():
            self._compute(values)
        return self._outputs

    def _compute(self, values: Mapping[str, Tensor]) -> None:
        held = []  # alive until everything is queued; from then on the stream keeps the order
        for spec in self.description.inputs:
            value = values[spec.name]
            if tuple(value.shape) != spec.shape:
                raise EngineError(
                    f"{self.description.built.part} was built for {spec.name} {spec.shape} and got "
                    f"{tuple(value.shape)}. Build an engine for this preset and these speakers: "
                    "avatar export onnx."
                )
            value = value.to(self._device, getattr(torch, spec.dtype)).contiguous()
            self._binding.bind_input(*_bound(spec, value))
            held.append(value)
        self._session.run_with_iobinding(self._binding, self._options)


class OnnxDenoiser:
    """The denoiser, run part by part."""

    def __init__(self, parts: Sequence[OnnxPart]) -> None:
        self._parts = tuple(parts)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        values = named_values(x, step, window)
        for part in self._parts:
            values |= as_next_inputs(part.run(values))
        return values[PREDICTION].to(x)


class OnnxDecoder:
    """The built-in autoencoder's decoder."""

    def __init__(self, part: OnnxPart) -> None:
        self._part = part

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        values = {"latent": latent, "previous": state.previous, **state.reference._asdict()}
        return self._part.run(values)["pictures"].to(latent), DecoderState(state.reference, latent)


class OnnxAudioEncoder:
    """The built-in audio encoder; encodes one window of sound at a time."""

    def __init__(self, part: OnnxPart, config: AudioEncoderConfig) -> None:
        self.config = config
        self._part = part

    def __call__(self, mel: Tensor) -> Tensor:
        windows = ({"mel": one[None]} for one in mel)
        return torch.cat([self._part.run(one)["states"].to(mel, copy=True) for one in windows])


def provider_device(provider: str, model: torch.device) -> torch.device:
    """The device of a provider's tensors, for a model on the device `model`.

    Raises Unsupported if ONNX Runtime lacks the provider or there is no GPU for it.
    """
    available = _onnxruntime().get_available_providers()
    if PROVIDERS[provider] not in available:
        raise Unsupported(
            f"{PROVIDERS[provider]} was asked for, but this ONNX Runtime has only "
            f"{', '.join(available)}. Replace onnxruntime by onnxruntime-gpu (pip uninstall "
            "onnxruntime, then pip install 'avatar-server[gpu]'), or ask for provider cpu.",
            param="provider",
        )
    if provider == "cpu":
        return CPU
    if not torch.cuda.is_available():
        raise Unsupported(
            f"The provider {provider} needs an NVIDIA GPU, and torch finds none here. Ask for "
            "provider cpu.",
            param="provider",
        )
    index = model.index if model.type == "cuda" else None
    return torch.device("cuda", torch.cuda.current_device() if index is None else index)


def open_session(
    file: Path, provider: str, threads: int, stream: torch.cuda.Stream | None = None
) -> onnxruntime.InferenceSession:
    """A session on this provider only, and on this stream of its GPU; idle threads sleep."""
    runtime, name = _onnxruntime(), PROVIDERS[provider]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider_options, advice = {}, "Build"
    if stream is not None:
        provider_options = {
            "device_id": str(stream.device.index),
            "user_compute_stream": str(stream.cuda_stream),
        }
        # Otherwise a node that the provider does not support would silently run on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        advice = "If a warning above names a missing library, install it. Otherwise build"
    try:
        return runtime.InferenceSession(
            str(file), options, providers=[(name, provider_options)], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's own errors have no common base but this
        raise EngineError(
            f"ONNX Runtime {runtime.__version__} cannot load {file} on {name}: {error}. {advice} "
            "the engine again: avatar export onnx."
        ) from error


def _buffer(spec: TensorSpec, device: torch.device) -> Tensor:
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=device)


def _bound(spec: TensorSpec, tensor: Tensor) -> tuple[str, str, int, type, list[int], int]:
    """The arguments of IOBinding for a contiguous tensor: name, device, type, shape, address."""
    device, dtype = tensor.device, np.dtype(spec.dtype).type
    return spec.name, device.type, device.index or 0, dtype, list(spec.shape), tensor.data_ptr()


def _onnxruntime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise Unsupported(
            "ONNX Runtime is not installed. Install it: pip install 'avatar-server[onnx]'."
        ) from error
