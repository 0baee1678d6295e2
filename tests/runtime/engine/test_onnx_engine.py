"""A stream on ONNX Runtime shows what it shows on torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from runtime.character import Character
from runtime.checkpoint import AvatarModel
from runtime.engine.base import Engines
from runtime.engine.choice import built_decoder, open_engines, stream_shape
from runtime.engine.description import find_engine
from runtime.engine.kinds import EngineChoice
from runtime.engine.onnx_engine import PROVIDERS, OnnxDecoder, OnnxPart, open_session
from runtime.engine.parts import WindowShape
from runtime.errors import BadInput, EngineError, NotFound, Unsupported
from runtime.presets import StreamPreset
from runtime.stream import StreamingGenerator
from runtime.stream_scene import picture_tensor
from tests.export.exported import SHAPE, small_engines
from tests.runtime.small_world import babble, pixels, run, small_character

PRESET = StreamPreset("all past", window=3, hop=1, shift=0, steps=2)


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


def onnx_engines(shape: WindowShape = SHAPE) -> Engines:
    model, root = small_engines()
    return open_engines(EngineChoice("onnx", root=root), model, shape)


def video(character: Character, engines: Engines | None) -> np.ndarray:
    stream = StreamingGenerator(small_engines()[0], character, PRESET, engines=engines)
    stream.push("ana", babble(1.0))
    return pixels(run(stream)).astype(np.int16)


def test_a_stream_shows_the_same_pictures_as_torch(character: Character) -> None:
    difference = np.abs(video(character, onnx_engines()) - video(character, None))
    assert difference.max() <= 1  # of 255: float32 sums in another order, then rounding


def test_the_shape_of_a_stream_is_known_before_it_opens(character: Character) -> None:
    model, _ = small_engines()
    assert stream_shape(model, character, PRESET.window) == SHAPE


def test_two_windows_of_sound_are_each_encoded_alone() -> None:
    encoder = onnx_engines().audio_encoder
    mel = torch.randn(2, 80, 200, generator=torch.Generator().manual_seed(0))
    both = encoder(mel)
    torch.testing.assert_close(both[1:], encoder(mel[1:]), atol=0, rtol=0)


def test_no_engine_for_that_many_speakers_names_both_sides() -> None:
    with pytest.raises(EngineError, match=r"3 latent frames, 1 speakers.*wanted is 3 latent.*2 sp"):
        onnx_engines(replace(SHAPE, speakers=2))


def test_another_checkpoint_is_refused() -> None:
    _, root = small_engines()
    with pytest.raises(EngineError, match=r"checkpoint [0-9a-f]+, wanted is [0-9a-f]+"):
        open_engines(EngineChoice("onnx", root=root), AvatarModel.random(1), SHAPE)


def test_a_missing_precision_says_how_to_build_it() -> None:
    model, root = small_engines()
    with pytest.raises(EngineError, match="avatar export onnx --precision int8"):
        open_engines(EngineChoice("onnx", "int8", root), model, SHAPE)


def test_torch_decodes_beside_onnx_runtime_on_a_cpu() -> None:
    model, root = small_engines()
    engines = open_engines(EngineChoice("onnx", root=root), model, SHAPE)
    assert engines.decoder is model.autoencoder


def test_windows_of_another_length_are_refused_in_a_call() -> None:
    model, root = small_engines()
    built = built_decoder(model, SHAPE.rows, SHAPE.columns, "onnx")
    decoder = OnnxDecoder(OnnxPart(*find_engine(root, built)))
    with pytest.raises(EngineError, match="built for latent"):
        decoder.decode(torch.zeros(1, 16, 4, 4), model.autoencoder.start(torch.zeros(1, 3, 64, 64)))


def test_onnx_runtime_decodes_as_torch_does(character: Character) -> None:
    model, root = small_engines()
    built = built_decoder(model, SHAPE.rows, SHAPE.columns, "onnx")
    decoder = OnnxDecoder(OnnxPart(*find_engine(root, built)))
    state = model.autoencoder.start(picture_tensor(character.pixels(), model))
    latent = state.previous + torch.randn(state.previous.shape)
    with torch.inference_mode():
        expected, _ = model.autoencoder.decode(latent, state)
    torch.testing.assert_close(decoder.decode(latent, state)[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_never_replaced_by_another(
    provider: str, tmp_path: Path
) -> None:
    if PROVIDERS[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is here")
    with pytest.raises(Unsupported, match="was asked for"):
        open_session(tmp_path / "model.onnx", provider, 1)


def test_an_engine_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(NotFound, match="onnx, tensorrt, tensorrt-rtx, torch, torch-compiled"):
        EngineChoice("openvino")


def test_a_precision_that_an_engine_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match="onnx computes in fp32, int8"):
        EngineChoice("onnx", "fp8")
