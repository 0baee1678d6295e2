"""The model behind the server, on an engine that lies in files."""

from pathlib import Path

import onnxruntime
import pytest

from runtime.engine.kinds import PROVIDERS
from runtime.errors import EngineError, Unsupported
from runtime.stream.presets import PRESETS
from server.config import ConfigError, Model
from server.config_file import load_config
from server.generation.runtime_backend import RuntimeBackend
from tests.support.engines.exported import model_folder, small_engines
from tests.support.models.small_model import random_model
from tests.support.models.small_world import save_model, small_character, small_model


def test_a_server_without_its_engines_does_not_start(tmp_path: Path) -> None:
    checkpoint = save_model(random_model(0), tmp_path / "model")
    engine = RuntimeBackend(
        Model(checkpoint=checkpoint, engine="onnx", engines=tmp_path / "engines", threads=1)
    )
    with pytest.raises(EngineError, match="Build it: avatar export onnx"):
        engine.load()


@pytest.mark.slow
def test_engines_that_fit_no_character_are_told_at_the_start() -> None:
    """They were built for pictures of another size."""
    _, engines = small_engines()
    config = Model(checkpoint=model_folder(), engine="onnx", engines=engines, threads=1)
    with pytest.raises(EngineError, match=r"shape 3 .* 8 x 8 latents.* wanted is 2 .* 32 x 32"):
        RuntimeBackend(config).load()


@pytest.mark.parametrize(("kind", "is_one"), [("torch", True), ("torch-compiled", False)])
def test_what_serves_every_shape_is_opened_once(tmp_path: Path, kind: str, is_one: bool) -> None:
    """Each one has weights of its own in memory."""
    engine, character = RuntimeBackend(Model(engine=kind, threads=1)), small_character(tmp_path)
    engine._model = small_model()
    short, long = (engine._engines_of(character, PRESETS[p]) for p in ("interactive", "balanced"))
    assert (short is long) == is_one


def test_a_provider_that_is_not_here_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    if PROVIDERS["tensorrt"] in onnxruntime.get_available_providers():
        pytest.skip("tensorrt is here")
    config = Model(checkpoint=tmp_path, engine="onnx", provider="tensorrt", threads=1)
    with pytest.raises(Unsupported, match="TensorrtExecutionProvider was asked for"):
        RuntimeBackend(config).load()  # the folder is empty


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ({"engine": "openvino"}, "model.engine"),
        ({"engine": "onnx", "precision": "fp8"}, "model.precision"),
        ({"engine": "onnx", "provider": "openvino"}, "model.provider"),
        ({"engine": "torch", "provider": "cpu"}, "model.provider"),
    ],
)
def test_an_engine_that_cannot_work_is_refused_with_its_key(
    flags: dict[str, str], key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(flags={"model": flags})
