"""TensorRT engines: what they need, and, on an RTX card, that they compute the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.building import Target, make_denoiser, make_small_parts
from export.cache import EngineCache
from export.calibration import CalibrationCollector
from runtime.engine.choice import denoiser_parts, open_engines
from runtime.engine.kinds import EngineChoice
from runtime.engine.torch_engine import default_engines
from runtime.engine.trt.engine import TensorRTChain
from runtime.engine.trt.library import TensorRT
from runtime.errors import NotFound, Unsupported
from runtime.stream.generator import StreamingGenerator
from runtime.weights.checkpoint import AvatarModel
from tests.support.engines.exported import SHAPE, random_calls
from tests.support.models.small_model import random_model
from tests.support.models.small_world import PRESETS, babble, pixels, run, small_character

ON_RTX = torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0)
needs_rtx = pytest.mark.skipif(not ON_RTX, reason="needs an NVIDIA RTX card")
pytest.importorskip("tensorrt_rtx", reason="pip install 'avatar-server[rtx]'")


def test_there_are_two_tensorrts_to_choose_from() -> None:
    with pytest.raises(NotFound, match="tensorrt, tensorrt-rtx"):
        TensorRT.named("tensorrt-lite")


def test_an_engine_is_described_by_the_library_that_built_it() -> None:
    library = TensorRT.named("tensorrt-rtx")
    assert library.version == f"tensorrt_rtx {library.module.__version__}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_an_engine_says_that_it_needs_one() -> None:
    with pytest.raises(Unsupported, match="there is none here"):
        TensorRTChain(TensorRT.named("tensorrt-rtx"), [])


def test_a_gpu_that_rtx_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    with pytest.raises(Unsupported, match=r"8.9 and from 12.0 on; NVIDIA H200 has 9.0"):
        TensorRT.named("tensorrt-rtx").check_gpu()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[AvatarModel, Path]:
    """The small model on the GPU, and its engines."""
    model, root = random_model(0), tmp_path_factory.mktemp("engines")
    target = Target("tensorrt-rtx", "fp32", EngineCache(root))
    parts = denoiser_parts(model.dit.config)
    collector = CalibrationCollector(model.dit, parts, SHAPE, lambda: random_calls(model))
    make_denoiser(model.dit, parts, SHAPE, collector.at, target)
    make_small_parts(model, SHAPE.rows, SHAPE.columns, target)
    return model.to("cuda"), root


@pytest.mark.gpu
@needs_rtx
def test_a_stream_on_tensorrt_shows_the_same_pictures_as_torch(
    built: tuple[AvatarModel, Path], tmp_path: Path
) -> None:
    model, root = built
    engines = open_engines(EngineChoice("tensorrt-rtx", root=root), model, SHAPE)
    videos = []
    for one in (engines, default_engines(model)):
        stream = StreamingGenerator(model, small_character(tmp_path), PRESETS[0], engines=one)
        stream.push("ana", babble(1.0))
        videos.append(pixels(run(stream)).astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 2  # of 255
