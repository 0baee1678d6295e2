"""The keys under which `avatar export` writes engines and a stream looks for them."""

from __future__ import annotations

from runtime.engine.description import EngineKey, weights_hash
from runtime.engine.kinds import LARGE
from runtime.engine.parts import DenoiserPart, WindowShape, in_blocks, whole
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.weights.checkpoint import AvatarModel

SMALL_PARTS_PRECISION = "fp32"  # of decoder and audio encoder, whatever the denoiser's is
AUDIO_ENCODER_SHAPE = "one window of sound"
ADAPTERS = ("audio_adapter", "emotion")  # one of each follows every odd double block


def denoiser_parts(config: DiTConfig, blocks_per_part: int = 1) -> tuple[DenoiserPart, ...]:
    """The parts into which a denoiser of this size is cut: one, or many if it is large."""
    return in_blocks(config, blocks_per_part) if config.hidden_size >= LARGE else whole(config)


def denoiser_key(
    dit: DiT, part: DenoiserPart, shape: WindowShape, kind: str, precision: str
) -> EngineKey:
    """The key of the engine of one part of the denoiser."""
    return _key(part.name, kind, precision, str(shape), part_weights_hash(dit, part))


def decoder_key(model: AvatarModel, rows: int, columns: int, kind: str) -> EngineKey:
    """The key of the decoder's engine for frames of rows x columns latents."""
    weights = weights_hash(model.autoencoder.state_dict().items())
    return _key("decoder", kind, SMALL_PARTS_PRECISION, f"{columns} x {rows} latents", weights)


def audio_encoder_key(model: AvatarModel, kind: str) -> EngineKey:
    """The key of the audio encoder's engine."""
    weights = weights_hash(model.audio_encoder.state_dict().items())
    return _key("audio_encoder", kind, SMALL_PARTS_PRECISION, AUDIO_ENCODER_SHAPE, weights)


def part_weights_hash(dit: DiT, part: DenoiserPart) -> str:
    """Hash of the weights that the part reads."""
    prefixes = [f"double_blocks.{i}." for i in part.double]
    prefixes += [f"{kind}_blocks.{i // 2}." for i in part.double if i % 2 for kind in ADAPTERS]
    prefixes += [f"single_blocks.{i}." for i in part.single]
    prefixes += ["img_in."] if part.prologue else []
    prefixes += ["final_layer."] if part.epilogue else []
    tensors = [(k, v) for k, v in dit.state_dict().items() if k.startswith(tuple(prefixes))]
    return weights_hash(tensors)


def _key(part: str, kind: str, precision: str, shape: str, weights: str) -> EngineKey:
    if kind == "onnx":
        return EngineKey(part, kind, precision, shape, weights)
    from runtime.engine.trt.library import TensorRT

    library = TensorRT.named(kind)
    return EngineKey(part, kind, precision, shape, weights, library.version, library.gpu())
