"""A stream on ONNX Runtime gives the frames that it gives on torch."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest
import torch

from runtime.character.character import Character
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.cpu.decoder import CpuDecoder
from runtime.engine.description import EngineKey, find_engine
from runtime.engine.engine_keys import audio_encoder_key, decoder_key, denoiser_key
from runtime.engine.kinds import PROVIDERS, EngineChoice
from runtime.engine.onnx_engine import MODEL, OnnxDecoder, OnnxPart, provider_device
from runtime.engine.parts import WindowShape, whole
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput, EngineError, NotFound, Unsupported
from runtime.stream.constants import image_tensor
from runtime.stream.engines import Engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.weights.checkpoint import AvatarModel, load
from tests.support.engines.exported import SHAPE, model_folder, small_engines
from tests.support.models.small_model import random_model
from tests.support.models.small_world import babble, pixels, run, small_character

PRESET = StreamPreset("all past", window=3, hop=1, shift=0, steps=2)


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


def onnx_engines(shape: WindowShape = SHAPE) -> Engines:
    model, root = small_engines()
    return open_engines(EngineChoice("onnx", root=root), model, shape)


def torch_engines() -> Engines:
    return default_engines(small_engines()[0])


def video(character: Character, engines: Engines) -> np.ndarray:
    stream = StreamingGenerator(small_engines()[0], character, PRESET, engines=engines)
    stream.push("ana", babble(1.0))
    return pixels(run(stream)).astype(np.int16)


@pytest.mark.slow
def test_a_stream_shows_the_same_pictures_as_torch(character: Character) -> None:
    difference = np.abs(video(character, onnx_engines()) - video(character, torch_engines()))
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
        open_engines(EngineChoice("onnx", root=root), random_model(1), SHAPE)


def test_a_missing_precision_says_how_to_build_it() -> None:
    model, root = small_engines()
    with pytest.raises(EngineError, match="avatar export onnx --precision int8"):
        open_engines(EngineChoice("onnx", "int8", root), model, SHAPE)


def test_torch_decodes_beside_onnx_runtime_on_a_cpu() -> None:
    model, root = small_engines()
    engines = open_engines(EngineChoice("onnx", root=root), model, SHAPE)
    assert isinstance(engines.decoder, CpuDecoder)


def test_windows_of_another_length_are_refused_in_a_call() -> None:
    model, root = small_engines()
    key = decoder_key(model, SHAPE.rows, SHAPE.columns, "onnx")
    decoder = OnnxDecoder(OnnxPart(*find_engine(root, key)))
    with pytest.raises(EngineError, match="built for latent"):
        decoder.decode(torch.zeros(1, 16, 4, 4), model.autoencoder.start(torch.zeros(1, 3, 64, 64)))


def test_onnx_runtime_decodes_as_torch_does(character: Character) -> None:
    model, root = small_engines()
    key = decoder_key(model, SHAPE.rows, SHAPE.columns, "onnx")
    decoder = OnnxDecoder(OnnxPart(*find_engine(root, key)))
    state = model.autoencoder.start(image_tensor(character.picture.pixels, model))
    latent = state.previous + torch.randn(state.previous.shape)
    with torch.inference_mode():
        expected, _ = model.autoencoder.decode(latent, state)
    torch.testing.assert_close(decoder.decode(latent, state)[0], expected, atol=1e-4, rtol=0)


def part_keys() -> dict[str, EngineKey]:
    model, _ = small_engines()
    part = whole(model.dit.config)[0]
    return {
        "denoiser": denoiser_key(model.dit, part, SHAPE, "onnx", "fp32"),
        "decoder": decoder_key(model, SHAPE.rows, SHAPE.columns, "onnx"),
        "audio_encoder": audio_encoder_key(model, "onnx"),
    }


def random_inputs(part: OnnxPart, seed: int = 0) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {
        spec.name: torch.randn(spec.shape, generator=source) for spec in part.description.inputs
    }


@pytest.mark.parametrize("name", ["denoiser", "decoder", "audio_encoder"])
def test_tensors_read_and_written_in_place_give_what_a_plain_run_gives(name: str) -> None:
    folder, description = find_engine(small_engines()[1], part_keys()[name])
    part = OnnxPart(folder, description, threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    plain = onnxruntime.InferenceSession(str(folder / MODEL), options)
    for seed in (1, 2):
        values = random_inputs(part, seed)
        expected = plain.run(None, {name: value.numpy() for name, value in values.items()})
        for array, spec in zip(expected, description.outputs, strict=True):
            assert np.array_equal(part.run(values)[spec.name].numpy(), array)


def test_inputs_may_have_other_strides_and_another_precision() -> None:
    part = OnnxPart(*find_engine(small_engines()[1], part_keys()["audio_encoder"]))
    mel = torch.randn(1, 200, 80).transpose(1, 2)
    expected = part.run({"mel": mel.contiguous()})["states"].clone()
    assert torch.equal(part.run({"mel": mel.double()})["states"], expected)


def test_outputs_have_a_fixed_address() -> None:
    part = OnnxPart(*find_engine(small_engines()[1], part_keys()["decoder"]))
    first = part.run(random_inputs(part, 1))["pictures"]
    before = first.clone()
    assert part.run(random_inputs(part, 2))["pictures"].data_ptr() == first.data_ptr()
    assert not torch.equal(first, before)


@pytest.mark.fault("engine-files")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_missing_provider_is_never_replaced_by_another(provider: str) -> None:
    """A missing execution provider is never replaced silently by another."""
    if PROVIDERS[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is here")
    model, root = small_engines()
    with pytest.raises(Unsupported, match=r"was asked for.*onnxruntime-gpu"):
        open_engines(EngineChoice("onnx", root=root, provider=provider), model, SHAPE)


def test_a_provider_without_a_gpu_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unsupported, match="NVIDIA GPU"):
        provider_device("cuda", torch.device("cpu"))


def on_a_gpu(provider: str) -> tuple[AvatarModel, EngineChoice]:
    """The small model on the GPU, and the choice of its engines there."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        pytest.skip(f"needs an ONNX Runtime with {provider}: pip install 'avatar-server[gpu]'")
    if provider == "tensorrt" and find_spec("tensorrt") is None:
        pytest.skip("needs TensorRT: pip install 'avatar-server[gpu]'")
    choice = EngineChoice("onnx", root=small_engines()[1], provider=provider)
    return load(model_folder()).to("cuda"), choice


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_stream_on_a_gpu_shows_the_same_pictures_as_torch_on_a_cpu(
    provider: str, character: Character
) -> None:
    model, choice = on_a_gpu(provider)
    stream = StreamingGenerator(
        model, character, PRESET, engines=open_engines(choice, model, SHAPE)
    )
    stream.push("ana", babble(1.0))
    difference = np.abs(pixels(run(stream)).astype(np.int16) - video(character, torch_engines()))
    assert difference.mean() < 1  # of 255: ONNX Runtime multiplies in TF32 by default


@pytest.mark.gpu
def test_the_host_does_not_wait_for_a_call_and_later_work_reads_its_result() -> None:
    _, choice = on_a_gpu("cuda")
    device = provider_device("cuda", torch.device("cuda"))
    part = OnnxPart(*find_engine(choice.root, part_keys()["decoder"]), "cuda", device)
    values = {name: value.to(device) for name, value in random_inputs(part).items()}
    expected = part.run(values)["pictures"].clone()
    late = {name: torch.zeros_like(value) for name, value in values.items()}
    part.run(late)
    torch.cuda.synchronize()
    torch.cuda._sleep(500_000_000)  # cycles: a few hundred milliseconds
    for name, value in values.items():
        late[name].copy_(value)
    found = part.run(late)["pictures"].clone()
    queued = torch.cuda.Event()
    queued.record()
    assert not queued.query()
    assert torch.equal(found, expected)


def test_only_the_onnx_engine_has_providers() -> None:
    with pytest.raises(NotFound, match="cpu, cuda, tensorrt"):
        EngineChoice("onnx", provider="openvino")
    with pytest.raises(BadInput, match="engine torch, but only the engine onnx has providers"):
        EngineChoice("torch", provider="cpu")


def test_an_engine_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(NotFound, match="onnx, tensorrt, tensorrt-rtx, torch, torch-compiled"):
        EngineChoice("openvino")


def test_a_precision_that_an_engine_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match="onnx computes in fp32, int8"):
        EngineChoice("onnx", "fp8")
