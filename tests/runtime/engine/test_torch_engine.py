"""The model's own modules as engines."""

from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.checkpoint import AvatarModel
from runtime.engine.choice import open_engines
from runtime.engine.kinds import EngineChoice
from runtime.engine.torch_engine import CompiledDenoiser
from runtime.stream import StreamingGenerator
from tests.export.exported import SHAPE
from tests.runtime.models.test_dit import T, conditioning, noisy, random_dit
from tests.runtime.small_world import PRESETS, babble, pixels, run, small_character, small_model


def test_eager_runs_the_models_own_modules() -> None:
    model = small_model()
    assert open_engines(EngineChoice("torch"), model, SHAPE).denoiser is model.dit


@torch.inference_mode()
def test_the_whole_denoiser_is_captured_in_one_graph() -> None:
    dit, cond = random_dit(), conditioning()
    x, t = noisy()
    call = x, dit.prepare_step(t, cond), dit.prepare_window(cond, T)
    captured = CompiledDenoiser(dit, backend="eager")  # a compiler takes minutes on a CPU
    torch.testing.assert_close(captured.denoise(*call), dit.denoise(*call), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_stream_on_compiled_torch_shows_the_same_pictures_on_a_gpu(tmp_path: Path) -> None:
    model, character = AvatarModel.random(0).to("cuda"), small_character(tmp_path)
    engines = open_engines(EngineChoice("torch-compiled"), model, SHAPE)
    videos = []
    for one in (engines, None):
        stream = StreamingGenerator(model, character, PRESETS[0], engines=one)
        stream.push("ana", babble(1.0))
        videos.append(pixels(run(stream)).astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 2  # of 255
