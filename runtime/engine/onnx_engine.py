"""ONNX Runtime engines. Tensors go in and come out without a copy, on a CPU and on a GPU."""

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
from runtime.engine.parts import PREDICTION, handed_on, named_values
from runtime.errors import EngineError, Unsupported
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.autoencoder.autoencoder import DecoderState
from runtime.models.dit.conditioning import StepInputs, WindowInputs

if TYPE_CHECKING:
    import onnxruntime

MODEL = "model.onnx"
CPU = torch.device("cpu")


class OnnxPart:
    """One ONNX file, loaded; `run` takes and gives tensors by name. Not for two threads at once.

    `provider`, of PROVIDERS, runs the whole graph on `device` or EngineError says why not.
    `threads` 0 takes as many as torch.

    Tensors on the device are read where they lie, and outputs have one place each from the start.
    On a GPU it computes on a stream of its own between what the caller queued before and after: the
    host waits for nothing.
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
        self._outputs = {spec.name: _place(spec, device) for spec in description.outputs}
        for spec in description.outputs:
            self._binding.bind_output(*_bound(spec, self._outputs[spec.name]))

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part's outputs, valid until the next call; of `values` it takes its inputs."""
        with nullcontext() if self._stream is None else self._stream.turn():
            self._compute(values)
        return self._outputs

    def _compute(self, values: Mapping[str, Tensor]) -> None:
        held = []  # until everything is queued; afterwards the stream keeps the order
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
    """The denoiser, one part after the other."""

    def __init__(self, parts: Sequence[OnnxPart]) -> None:
        self._parts = tuple(parts)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        values = named_values(x, step, window)
        for part in self._parts:
            values |= handed_on(part.run(values))
        return values[PREDICTION].to(x)


class OnnxDecoder:
    """The built-in autoencoder's decoder."""

    def __init__(self, part: OnnxPart) -> None:
        self._part = part

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        values = {"latent": latent, "previous": state.previous, **state.anchor._asdict()}
        return self._part.run(values)["pictures"].to(latent), DecoderState(state.anchor, latent)


class OnnxAudioEncoder:
    """The built-in audio encoder, one window of sound at a time."""

    def __init__(self, part: OnnxPart, config: AudioEncoderConfig) -> None:
        self.config = config
        self._part = part

    def __call__(self, mel: Tensor) -> Tensor:
        windows = ({"mel": one[None]} for one in mel)
        return torch.cat([self._part.run(one)["states"].to(mel, copy=True) for one in windows])


def provider_device(provider: str, model: torch.device) -> torch.device:
    """Where a provider's tensors lie, for a model on the device `model`; Unsupported if nowhere."""
    available = _onnxruntime().get_available_providers()
    if PROVIDERS[provider] not in available:
        raise Unsupported(
            f"ONNX Runtime here has {', '.join(available)}; {PROVIDERS[provider]} was asked for. "
            "Put onnxruntime-gpu in the place of onnxruntime (pip uninstall onnxruntime, then pip "
            "install 'avatar-server[gpu]'), or ask for provider cpu.",
            param="provider",
        )
    if provider == "cpu":
        return CPU
    if not torch.cuda.is_available():
        raise Unsupported(
            f"The provider {provider} runs on an NVIDIA GPU, and torch finds none here. Ask for "
            "provider cpu.",
            param="provider",
        )
    index = model.index if model.type == "cuda" else None
    return torch.device("cuda", torch.cuda.current_device() if index is None else index)


def open_session(
    file: Path, provider: str, threads: int, stream: torch.cuda.Stream | None = None
) -> onnxruntime.InferenceSession:
    """A session on that provider alone, and on its GPU's `stream`; threads sleep in between."""
    runtime, name = _onnxruntime(), PROVIDERS[provider]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    where, advice = {}, "Build"
    if stream is not None:
        where = {
            "device_id": str(stream.device.index),
            "user_compute_stream": str(stream.cuda_stream),
        }
        # A node that the provider cannot take would silently run on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        advice = "If a warning above names a library that is missing, install it; else build"
    try:
        return runtime.InferenceSession(
            str(file), options, providers=[(name, where)], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's own errors have no common base but this
        raise EngineError(
            f"ONNX Runtime {runtime.__version__} cannot load {file} on {name}: {error}. {advice} "
            "the engine again: avatar export onnx."
        ) from error


def _place(spec: TensorSpec, device: torch.device) -> Tensor:
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=device)


def _bound(spec: TensorSpec, tensor: Tensor) -> tuple[str, str, int, type, list[int], int]:
    """A contiguous tensor as IOBinding takes it: name, where it lies, type, shape, address."""
    where = tensor.device
    kind = np.dtype(spec.dtype).type
    return spec.name, where.type, where.index or 0, kind, list(spec.shape), tensor.data_ptr()


def _onnxruntime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise Unsupported(
            "ONNX Runtime is not installed. Install it: pip install 'avatar-server[onnx]'."
        ) from error
