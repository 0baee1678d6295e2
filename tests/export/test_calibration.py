"""Recorded windows: of a live stream of a released model, in a file, for FP8 engines."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.calibration import (
    RecordingDenoiser,
    call_shape,
    load_calls,
    save_calls,
    scaled,
    spoken_by,
)
from export.example_inputs import random_values
from export.request import RecordRequest, record_windows
from runtime.engine.description import EngineDescription
from runtime.engine.parts import WindowShape, whole
from runtime.errors import BadInput, NotFound
from runtime.hunyuan.weights.loading import load_dit
from runtime.stream.presets import RELEASED_PRESETS
from tests.support.engines.export_command import avatar_export
from tests.support.engines.exported import model_folder, random_calls, small_engines
from tests.support.models.small_dit import T, conditioning, noisy, random_dit
from tests.support.models.small_world import small_character
from tests.support.models.taehv_file import write_taehv
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release

pytestmark = pytest.mark.slow

PRESET = RELEASED_PRESETS["balanced"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released folder of tiny width that can stream."""
    folder = tmp_path_factory.mktemp("release")
    write_tiny_release(folder, dit=TINY_SHALLOW)
    write_taehv(folder / "taehv.pth")
    return folder


@pytest.fixture(scope="module")
def windows(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `avatar export windows` recorded of it in one tick."""
    file = tmp_path_factory.mktemp("windows") / "windows.safetensors"
    code, shown = avatar_export(
        "windows", "--model", release, "--size", 64, "--ticks", 1, "--device", "cpu",
        "--precision", "fp32", "--out", file,
    )  # fmt: skip
    assert code == 0, shown
    assert f"{PRESET.steps} windows" in shown
    return file


def test_a_window_is_recorded_for_every_step_of_every_tick(windows: Path) -> None:
    calls = load_calls(windows)
    assert len(calls) == PRESET.steps
    shape = call_shape(calls[0])
    assert (shape.latent_frames, shape.speakers, shape.rows, shape.columns) == (9, 1, 8, 8)


def test_recorded_windows_have_all_that_the_denoiser_reads(release: Path, windows: Path) -> None:
    dit = load_dit(release, dtype=torch.float32)
    (part,) = whole(dit.config)
    for call in load_calls(windows):
        assert set(part.inputs(dit.config)) <= set(call)
        assert all(value.isfinite().all() for value in call.values())


@pytest.mark.slow
def test_a_released_model_is_built_in_fp8_from_its_recorded_windows(
    release: Path, windows: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'avatar-server[rtx]'")
    code, shown = avatar_export(
        "tensorrt-rtx", "--model", release, "--precision", "fp8", "--speakers", 1, "--size", 64,
        "--latent-frames", 9, "--text-tokens", 5, "--windows", windows, "--out", tmp_path,
    )  # fmt: skip
    assert code == 0, shown
    (folder,) = tmp_path.glob("tensorrt-rtx-fp8-denoiser-*")
    assert EngineDescription.read(folder).error is not None


def test_calls_are_read_back_unchanged(tmp_path: Path) -> None:
    model, _ = small_engines()
    calls = [random_calls(model, seed=seed)[0] for seed in (1, 2)]
    save_calls(calls, tmp_path / "windows.safetensors")
    again = load_calls(tmp_path / "windows.safetensors")
    assert [call.keys() for call in again] == [call.keys() for call in calls]
    for found, expected in zip(again, calls, strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_shape_of_a_call_is_found_in_it() -> None:
    model, _ = small_engines()
    config = model.dit.config
    whole_picture = WindowShape(3, 2, 8, 8, 2)
    call = random_values(whole(config)[0].inputs(config), config, whole_picture)
    assert call_shape(call) == whole_picture


@pytest.mark.parametrize("content", [{}, {"weight": torch.zeros(2)}, {"0/x": torch.zeros(2)}])
def test_a_file_without_windows_is_refused(
    tmp_path: Path, content: dict[str, torch.Tensor]
) -> None:
    save_file(content, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="avatar export windows"):
        load_calls(tmp_path / "other.safetensors")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no recorded windows"):
        load_calls(tmp_path / "none.safetensors")


def test_the_character_is_scaled_to_the_wanted_size() -> None:
    with scaled(spoken_by(2)[0], 64) as character:
        assert character.picture.pixels.shape == (64, 64, 3)
        assert len(character.speakers) == 2


def test_characters_of_a_folder_count_too(tmp_path: Path) -> None:
    own = small_character(tmp_path)
    assert own.id not in [one.id for one in spoken_by(len(own.speakers))]
    assert own.id in [one.id for one in spoken_by(len(own.speakers), [own.folder.parent])]


def test_a_model_of_the_builtin_kind_needs_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="leave --windows out"):
        record_windows(RecordRequest(model_folder(), device="cpu", out=tmp_path / "w"))


def test_an_unknown_character_is_refused_before_the_model_is_loaded(release: Path) -> None:
    with pytest.raises(NotFound, match="character"):
        record_windows(RecordRequest(release, character="nobody", device="cpu"))


def test_recording_does_not_change_the_call() -> None:

    dit, cond = random_dit(), conditioning(2)
    x, t = noisy()
    with torch.inference_mode():
        step, window = dit.prepare_step(t, cond), dit.prepare_window(cond, T)
        recorder = RecordingDenoiser(dit)
        assert torch.equal(recorder.denoise(x, step, window), dit.denoise(x, step, window))
    assert torch.equal(recorder.calls[0]["latents"], x)
    assert recorder.calls[0]["latents"].data_ptr() != x.data_ptr()
