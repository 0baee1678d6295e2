"""Which engine runs the model: named by the caller, found in a folder of engines, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.character.character import Character
from runtime.engine.description import Built, EngineDescription, find_engine, weights_hash
from runtime.engine.kinds import LARGE, EngineChoice, loaded_as
from runtime.engine.parts import DenoiserPart, WindowShape, in_blocks, whole
from runtime.errors import Unsupported
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.stream.constants import active_tokens_of
from runtime.stream.engines import Engines
from runtime.stream.model import StreamModel
from runtime.weights.checkpoint import AvatarModel

SMALL_PARTS_PRECISION = "fp32"  # of decoder and audio encoder, whatever the denoiser has
ANY_SOUND = "one window of sound"


def open_engines(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    """The engines of a stream. EngineError or Unsupported says what is missing, and what to do."""
    return ENGINES[choice.kind](choice, model, shape)


def stream_shape(model: StreamModel, character: Character, latent_frames: int) -> WindowShape:
    """The shape of a character's stream."""
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


def denoiser_parts(config: DiTConfig, blocks_per_part: int = 1) -> tuple[DenoiserPart, ...]:
    """How a denoiser of that size is cut."""
    return in_blocks(config, blocks_per_part) if config.hidden_size >= LARGE else whole(config)


def part_weights_hash(dit: DiT, part: DenoiserPart) -> str:
    """Hash of the weights that the part reads, and of the sizes that say what they mean."""
    prefixes = [f"double_blocks.{i}." for i in part.double]
    prefixes += [f"{kind}_blocks.{i // 2}." for i in part.double if i % 2 for kind in _ADAPTERS]
    prefixes += [f"single_blocks.{i}." for i in part.single]
    prefixes += ["img_in."] if part.prologue else []
    prefixes += ["final_layer."] if part.epilogue else []
    tensors = [(k, v) for k, v in dit.state_dict().items() if k.startswith(tuple(prefixes))]
    return weights_hash(tensors)


_ADAPTERS = ("audio_adapter", "emotion")


def built_denoiser(
    dit: DiT, part: DenoiserPart, shape: WindowShape, kind: str, precision: str
) -> Built:
    """What an engine of that part is built for."""
    return _built(part.name, kind, precision, str(shape), part_weights_hash(dit, part))


def built_decoder(model: AvatarModel, rows: int, columns: int, kind: str) -> Built:
    """What an engine of the decoder is built for, for pictures of rows x columns latents."""
    weights = weights_hash(model.autoencoder.state_dict().items())
    return _built("decoder", kind, SMALL_PARTS_PRECISION, f"{columns} x {rows} latents", weights)


def built_audio_encoder(model: AvatarModel, kind: str) -> Built:
    """What an engine of the audio encoder is built for."""
    weights = weights_hash(model.audio_encoder.state_dict().items())
    return _built("audio_encoder", kind, SMALL_PARTS_PRECISION, ANY_SOUND, weights)


def _built(part: str, kind: str, precision: str, shape: str, weights: str) -> Built:
    if kind == "onnx":
        return Built(part, kind, precision, shape, weights)
    from runtime.engine.trt.library import TensorRT

    library = TensorRT.named(kind)
    return Built(part, kind, precision, shape, weights, library.version, library.gpu())


def _torch(
    engines: Callable[[StreamModel], Engines], choice: EngineChoice, model: StreamModel
) -> Engines:
    """The model's own modules, if they were loaded in the precision that is asked for."""
    from runtime.engine.torch_engine import precision_of

    found = precision_of(model.dit)
    if found != loaded_as(choice.precision):
        raise Unsupported(
            f"The weights are loaded in {found}, and {choice.kind} was asked for "
            f"{choice.precision}: it computes in what is loaded. Ask for {found}; the built-in "
            "model and its kind are fp32 in torch, a released folder is loaded as asked for.",
            param="precision",
        )
    return engines(model)


def _open_torch(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import default_engines

    return _torch(default_engines, choice, model)


def _open_eager(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import eager

    return _torch(eager, choice, model)


def _open_graphed(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import graphed

    return _torch(graphed, choice, model)


def _open_fused(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import fused

    attends_in_fp8 = choice.precision == "fp8-attention"
    return _torch(lambda loaded: fused(loaded, attends_in_fp8), choice, model)


def _open_compiled(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import compiled

    return _torch(compiled, choice, model)


def _open_torch_tensorrt(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.torch_engine import through_tensorrt

    return _torch(through_tensorrt, choice, model)


def _open_onnx(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> Engines:
    from runtime.engine.onnx_engine import (
        OnnxAudioEncoder,
        OnnxDecoder,
        OnnxDenoiser,
        OnnxPart,
        provider_device,
    )
    from runtime.engine.torch_engine import cpu_decoder

    provider = choice.provider or "cpu"
    device = provider_device(provider, model.device)

    def load(found: Found) -> OnnxPart:
        return OnnxPart(*found, provider, device, choice.threads)

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
    from runtime.engine.trt.engine import open_denoiser, open_tensorrt

    denoiser = _find_denoiser(choice, model, shape)
    if not isinstance(model, AvatarModel):
        opened = open_denoiser(choice.kind, denoiser)
        return Engines(opened, model.autoencoder, model.audio_encoder)
    return open_tensorrt(choice.kind, model, denoiser, *_find_small_parts(choice, model, shape))


Found = tuple[Path, EngineDescription]


def _find_denoiser(choice: EngineChoice, model: StreamModel, shape: WindowShape) -> list[Found]:
    """Folders and descriptions of the denoiser's parts."""
    parts = denoiser_parts(model.dit.config, choice.blocks_per_part)
    return [
        find_engine(
            choice.root, built_denoiser(model.dit, part, shape, choice.kind, choice.precision)
        )
        for part in parts
    ]


def _find_small_parts(
    choice: EngineChoice, model: AvatarModel, shape: WindowShape
) -> tuple[Found, Found]:
    """The decoder and the audio encoder. Of a released model, which lies in no engine but for its
    transformer, the TAEHV decoder and Whisper run in torch.
    """
    decoder = built_decoder(model, shape.rows, shape.columns, choice.kind)
    encoder = built_audio_encoder(model, choice.kind)
    return find_engine(choice.root, decoder), find_engine(choice.root, encoder)


ENGINES: dict[str, Callable[[EngineChoice, StreamModel, WindowShape], Engines]] = {
    "torch": _open_torch,
    "torch-eager": _open_eager,
    "torch-graphed": _open_graphed,
    "torch-fused": _open_fused,
    "torch-compiled": _open_compiled,
    "torch-tensorrt": _open_torch_tensorrt,
    "onnx": _open_onnx,
    "tensorrt": _open_tensorrt,
    "tensorrt-rtx": _open_tensorrt,
}
