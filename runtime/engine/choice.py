"""From the name of an engine to the engines of a stream. No engine falls back to another."""

from __future__ import annotations

from collections.abc import Callable

from runtime.character.character import Character
from runtime.engine.description import LocatedEngine, find_engine
from runtime.engine.engine_keys import (
    audio_encoder_key,
    decoder_key,
    denoiser_key,
    denoiser_parts,
)
from runtime.engine.kinds import EngineChoice, weight_precision
from runtime.engine.onnx_engine import (
    OnnxAudioEncoder,
    OnnxDecoder,
    OnnxDenoiser,
    OnnxPart,
    provider_device,
)
from runtime.engine.parts import WindowShape
from runtime.engine.torch_engine import (
    compiled,
    cpu_decoder,
    default_engines,
    eager,
    fused,
    graphed,
    precision_of,
    through_tensorrt,
)
from runtime.engine.trt.engine import open_denoiser, open_tensorrt
from runtime.errors import Unsupported
from runtime.stream.constants import active_tokens_of
from runtime.stream.engines import Engines
from runtime.stream.model import StreamModel
from runtime.weights.checkpoint import AvatarModel


def open_engines(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    """The engines of a stream. Raises EngineError or Unsupported with what is missing."""
    return ENGINES[choice.kind](choice, model, shape)


def stream_shape(model: StreamModel, character: Character, latent_frames: int) -> WindowShape:
    """The shape of a character's windows of so many latent frames."""
    stride = model.picture_multiple_px // model.dit.config.patch_size[1]
    tokens = model.prompt_of(character).tokens
    active = active_tokens_of(model, character)
    return WindowShape(
        latent_frames,
        len(character.speakers),
        character.picture.height // stride,
        character.picture.width // stride,
        tokens,
        kept_tokens=None if active is None else len(active.tokens),
    )


def _open_torch(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    """The model's own modules, if they were loaded in the precision that is asked for."""
    loaded = precision_of(model.dit)
    if loaded != weight_precision(choice.precision):
        raise Unsupported(
            f"The weights are loaded in {loaded}, but {choice.kind} was asked for "
            f"{choice.precision}; it computes in the precision of the weights. Ask for {loaded}. "
            "(In torch the built-in model and model folders are fp32; a released folder is loaded "
            "in the precision asked for.)",
            param="precision",
        )
    if choice.kind == "torch-fused":
        return fused(model, attends_in_fp8=choice.precision == "fp8-attention")
    return TORCH_ENGINES[choice.kind](model)


def _open_onnx(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    provider = choice.provider or "cpu"
    device = provider_device(provider, model.device)

    def load(located: LocatedEngine) -> OnnxPart:
        return OnnxPart(*located, provider, device, choice.threads)

    denoiser = OnnxDenoiser([load(part) for part in _find_denoiser(choice, model, shape)])
    if not isinstance(model, AvatarModel):
        return Engines(denoiser, model.autoencoder, model.audio_encoder)
    decoder, encoder = _find_small_parts(choice, model, shape)
    return Engines(
        denoiser,
        cpu_decoder(model) if provider == "cpu" else OnnxDecoder(load(decoder)),
        OnnxAudioEncoder(load(encoder), model.audio_encoder.config),
    )


def _open_tensorrt(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    denoiser = _find_denoiser(choice, model, shape)
    if not isinstance(model, AvatarModel):
        opened = open_denoiser(choice.kind, denoiser)
        return Engines(opened, model.autoencoder, model.audio_encoder)
    return open_tensorrt(choice.kind, model, denoiser, *_find_small_parts(choice, model, shape))


def _find_denoiser(
    choice: EngineChoice, model: StreamModel, shape: WindowShape
) -> list[LocatedEngine]:
    """The engines of the denoiser's parts, in order."""
    parts = denoiser_parts(model.dit.config, choice.blocks_per_part)
    return [
        find_engine(
            choice.root, denoiser_key(model.dit, part, shape, choice.kind, choice.precision)
        )
        for part in parts
    ]


def _find_small_parts(
    choice: EngineChoice, model: AvatarModel, shape: WindowShape
) -> tuple[LocatedEngine, LocatedEngine]:
    """The engines of the decoder and of the audio encoder.

    A released model has neither: its TAEHV decoder and Whisper run in torch.
    """
    decoder = decoder_key(model, shape.rows, shape.columns, choice.kind)
    encoder = audio_encoder_key(model, choice.kind)
    return find_engine(choice.root, decoder), find_engine(choice.root, encoder)


TORCH_ENGINES: dict[str, Callable[[StreamModel], Engines]] = {
    "torch": default_engines,
    "torch-eager": eager,
    "torch-graphed": graphed,
    "torch-fused": fused,
    "torch-compiled": compiled,
    "torch-tensorrt": through_tensorrt,
}

ENGINES: dict[str, Callable[[EngineChoice, StreamModel, WindowShape], Engines]] = {
    **dict.fromkeys(TORCH_ENGINES, _open_torch),
    "onnx": _open_onnx,
    "tensorrt": _open_tensorrt,
    "tensorrt-rtx": _open_tensorrt,
}
