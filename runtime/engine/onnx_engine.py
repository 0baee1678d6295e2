"""ONNX Runtime engines. On a CPU tensors go in and come out without a copy."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runtime.engine.description import EngineDescription
from runtime.engine.parts import PREDICTION, handed_on, named_values
from runtime.errors import EngineError, Unsupported
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.models.autoencoder import DecoderState
from runtime.models.conditioning import StepInputs, WindowInputs

if TYPE_CHECKING:
    import onnxruntime

MODEL = "model.onnx"
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxPart:
    """One ONNX file, loaded; `run` takes and gives tensors by name.

    `provider` is "cpu", "cuda" or "tensorrt"; that one runs the whole graph or EngineError says
    why not. `threads` 0 takes as many as torch.
    """

    def __init__(
        self,
        folder: Path,
        description: EngineDescription,
        provider: str = "cpu",
        threads: int = 0,
    ) -> None:
        self.description = description
        self._session = open_session(folder / MODEL, provider, threads or torch.get_num_threads())
        self._outputs = [spec.name for spec in description.outputs]

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part's outputs; of `values` it takes its inputs. Shapes are checked."""
        feed = {}
        for spec in self.description.inputs:
            value = values[spec.name]
            if tuple(value.shape) != spec.shape:
                raise EngineError(
                    f"{self.description.built.part} was built for {spec.name} {spec.shape} and got "
                    f"{tuple(value.shape)}. Build an engine for this preset and these speakers: "
                    "avatar export onnx."
                )
            feed[spec.name] = value.contiguous().cpu().numpy()
        found = self._session.run(self._outputs, feed)
        return {
            name: torch.from_numpy(array) for name, array in zip(self._outputs, found, strict=True)
        }


class OnnxDenoiser:
    """The denoiser, one part after the other."""

    def __init__(self, parts: Sequence[OnnxPart]) -> None:
        self._parts = tuple(parts)

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        values = named_values(x, step, window)
        for part in self._parts:
            values |= handed_on(part.run(values))
        return values[PREDICTION].to(x.device)


class OnnxDecoder:
    """The built-in autoencoder's decoder."""

    def __init__(self, part: OnnxPart) -> None:
        self._part = part

    def decode(self, latent: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        values = {"latent": latent, "previous": state.previous, **state.anchor._asdict()}
        return self._part.run(values)["pictures"], DecoderState(state.anchor, latent)


class OnnxAudioEncoder:
    """The built-in audio encoder, one window of sound at a time."""

    def __init__(self, part: OnnxPart, config: AudioEncoderConfig) -> None:
        self.config = config
        self._part = part

    def __call__(self, mel: Tensor) -> Tensor:
        return torch.cat([self._part.run({"mel": one[None]})["states"] for one in mel])


def open_session(file: Path, provider: str, threads: int) -> onnxruntime.InferenceSession:
    """A session on that provider alone, threads asleep while there is nothing to do."""
    runtime = _onnxruntime()
    name = PROVIDERS[provider]
    available = runtime.get_available_providers()
    if name not in available:
        raise Unsupported(
            f"ONNX Runtime here has {', '.join(available)}; {name} was asked for. Install "
            "onnxruntime-gpu (pip install 'avatar-server[gpu]'), or ask for provider cpu."
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != "cpu":  # a node that the provider cannot take would silently run on the CPU
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return runtime.InferenceSession(str(file), options, providers=[name])
    except Exception as error:  # ONNX Runtime's own errors have no common base but this
        raise EngineError(
            f"ONNX Runtime {runtime.__version__} cannot load {file} on {name}: {error}. Build the "
            "engine again: avatar export onnx."
        ) from error


def _onnxruntime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise Unsupported(
            "ONNX Runtime is not installed. Install it: pip install 'avatar-server[onnx]'."
        ) from error
