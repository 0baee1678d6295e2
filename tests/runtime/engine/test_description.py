"""An engine that does not fit is refused; the message names both sides."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from runtime.engine.description import (
    EngineDescription,
    EngineKey,
    TensorSpec,
    file_hash,
    find_engine,
    weights_hash,
)
from runtime.errors import EngineError

KEY = EngineKey(
    "denoiser", "tensorrt", "bf16", "3 latent frames", "abc", "tensorrt 11.3", "H200, sm_90"
)
OTHERS = {
    "part": "decoder",
    "kind": "onnx",
    "precision": "fp8",
    "shape": "9 latent frames",
    "checkpoint": "def",
    "library": "tensorrt 11.4",
    "gpu": "RTX 4090, sm_89",
    "exporter": 99,
}


def put(root: Path, key: EngineKey = KEY) -> Path:
    """An engine of one small file in a folder of engines."""
    folder = root / key.folder
    folder.mkdir(parents=True)
    (folder / "engine.plan").write_bytes(b"0123456789")
    spec = TensorSpec("latents", "float32", (1, 2))
    files = {"engine.plan": file_hash(folder / "engine.plan")}
    EngineDescription(key, (spec,), (spec,), files, 0.01).write(folder)
    return folder


def test_a_description_reads_as_it_was_written(tmp_path: Path) -> None:
    folder = put(tmp_path)
    first = EngineDescription.read(folder)
    first.write(folder)
    assert EngineDescription.read(folder) == first


def test_the_engine_that_was_asked_for_is_found(tmp_path: Path) -> None:
    folder = put(tmp_path)
    assert find_engine(tmp_path, KEY)[0] == folder


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKey)])
def test_every_field_changes_the_digest(name: str) -> None:
    assert replace(KEY, **{name: OTHERS[name]}).digest != KEY.digest


@pytest.mark.fault("engine-files")
@pytest.mark.parametrize("name", ["precision", "shape", "checkpoint", "library", "gpu", "exporter"])
def test_a_refusal_names_both_sides(tmp_path: Path, name: str) -> None:
    """An engine for another machine, model or shape is refused by name."""
    put(tmp_path)
    wanted = replace(KEY, **{name: OTHERS[name]})
    with pytest.raises(EngineError) as refused:
        find_engine(tmp_path, wanted)
    assert f"{name} {getattr(KEY, name)}, wanted is {OTHERS[name]}" in str(refused.value)


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="avatar export tensorrt --precision bf16"):
        find_engine(tmp_path, KEY)


def test_a_description_under_anothers_name_is_refused(tmp_path: Path) -> None:
    wanted = replace(KEY, gpu="RTX 4090, sm_89")
    put(tmp_path).rename(tmp_path / wanted.folder)
    with pytest.raises(EngineError, match=r"gpu H200, sm_90, wanted is RTX 4090, sm_89"):
        find_engine(tmp_path, wanted)


@pytest.mark.fault("engine-files")
def test_a_truncated_engine_is_refused(tmp_path: Path) -> None:
    """A truncated engine is refused."""
    (put(tmp_path) / "engine.plan").write_bytes(b"01234")
    with pytest.raises(EngineError, match="cut short or changed"):
        find_engine(tmp_path, KEY)


@pytest.mark.fault("engine-files")
def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing engine is refused."""
    (put(tmp_path) / "engine.plan").unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        find_engine(tmp_path, KEY)


@pytest.mark.fault("engine-files")
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"built": {"no": 1}}'])
def test_an_incomplete_description_is_refused(tmp_path: Path, text: str) -> None:
    """An engine with an incomplete description is refused."""
    (put(tmp_path) / "engine.json").write_text(text)
    with pytest.raises(EngineError, match="no description of an engine"):
        find_engine(tmp_path, KEY)


def test_one_changed_weight_changes_the_hash() -> None:
    weights = {"a": torch.zeros(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    before = weights_hash(weights.items())
    weights["b"][1] = 2
    assert weights_hash(weights.items()) != before


def test_the_order_of_weights_does_not_matter() -> None:
    weights = [("a", torch.zeros(3)), ("b", torch.ones(2))]
    assert weights_hash(weights) == weights_hash(reversed(weights))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_weight_on_a_gpu_has_the_hash_that_it_has_on_a_cpu() -> None:
    weight = torch.randn(3, 4)
    assert weights_hash([("a", weight.cuda())]) == weights_hash([("a", weight)])
