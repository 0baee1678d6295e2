import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.errors import CheckpointError
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.weights.checkpoint import load
from tests.support.models.small_model import random_model
from tests.support.models.small_world import PARTS, save_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(random_model(0), tmp_path / "model")


def test_a_saved_model_is_loaded_in_float32(folder: Path) -> None:
    loaded, original = load(folder), random_model(0)
    for part in PARTS:
        expected = getattr(original, part).state_dict()
        for key, value in getattr(loaded, part).state_dict().items():
            assert value.dtype == torch.float32
            assert not value.is_meta
            torch.testing.assert_close(value, expected[key], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(loaded.prompt.states, original.prompt.states, atol=1e-3, rtol=1e-3)


def test_a_random_model_is_the_same_for_the_same_seed() -> None:
    one, same, other = (random_model(seed).dit.img_in.proj.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def change(folder: Path, part: str, key: str, value: torch.Tensor | None) -> None:
    file = folder / f"{part}.safetensors"
    tensors = load_file(file)
    tensors.pop(key, None)
    if value is not None:
        tensors[key] = value
    save_file(tensors, file)


def test_missing_unexpected_and_misshapen_keys_are_named(folder: Path) -> None:
    change(folder, "dit", "img_in.proj.bias", None)
    change(folder, "dit", "extra.weight", torch.zeros(2))
    change(folder, "dit", "before_proj.weight", torch.zeros(2, 3))
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    for part in (
        "1 missing: img_in.proj.bias",
        "unexpected: extra.weight",
        "(2, 3) instead of",
    ):
        assert part in str(refused.value)


@pytest.mark.fault("model-files")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_no_numbers_are_refused(folder: Path, part: str, value: float) -> None:
    """Weights with NaN or infinity are refused, with the file and the tensor named."""
    tensors = load_file(folder / f"{part}.safetensors")
    key = sorted(key for key, tensor in tensors.items() if tensor.is_floating_point())[-1]
    spoilt = tensors[key].clone()
    spoilt.view(-1)[-1] = value
    change(folder, part, key, spoilt)
    with pytest.raises(CheckpointError, match=rf"{part}\.safetensors has NaN.* 1 tensors: {key}"):
        load(folder)


def test_a_missing_prompt_is_named(folder: Path) -> None:
    change(folder, "dit", "prompt.pooled_text", None)
    with pytest.raises(CheckpointError, match=r"no prompt\.pooled_text"):
        load(folder)


@pytest.mark.parametrize(
    "name", [f"{part}.{end}" for part in PARTS for end in ("json", "safetensors")]
)
def test_every_file_is_needed_and_must_be_whole(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x05garbage")
    with pytest.raises(CheckpointError, match=name):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load(folder)


def test_parts_of_different_exports_are_refused(folder: Path) -> None:
    sizes = json.loads((folder / "audio_encoder.json").read_text())
    wider = AudioEncoder(AudioEncoderConfig.from_dict({**sizes, "width": 32}))
    save_file(wider.state_dict(), folder / "audio_encoder.safetensors")
    (folder / "audio_encoder.json").write_text(json.dumps(wider.config.to_dict()))
    with pytest.raises(CheckpointError, match="audio width 16"):
        load(folder)
