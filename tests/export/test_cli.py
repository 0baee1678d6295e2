"""`avatar export` on the command line."""

from pathlib import Path

import pytest

from runtime.engine.description import EngineDescription
from tests.support.engines.export_command import avatar_export
from tests.support.engines.exported import model_folder
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


@pytest.mark.slow
def test_existing_engines_are_listed_and_not_built_again(tmp_path: Path) -> None:
    asked = (
        "onnx", "--model", model_folder(), "--preset", "interactive",
        "--speakers", 1, "--out", tmp_path,
    )  # fmt: skip
    assert avatar_export(*asked)[0] == 0
    built = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_dir()}
    code, shown = avatar_export(*asked)
    assert code == 0, shown
    assert all(part in shown for part in ("denoiser", "decoder", "audio_encoder"))
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_dir()}
    assert built
    assert again == built


def test_a_precision_that_an_engine_lacks_is_a_one_line_error() -> None:
    code, shown = avatar_export("onnx", "--precision", "fp8")
    assert code == 1
    assert "The engine onnx computes in fp32, int8, not in 'fp8'." in shown


@pytest.mark.slow
def test_a_released_transformer_is_checked_small_and_built_in_full_shapes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'avatar-server[rtx]'")
    release = write_tiny_release(tmp_path / "release", dit=TINY_SHALLOW, parts=("dit",))
    out = tmp_path / "engines"
    code, shown = avatar_export(
        "tensorrt-rtx", "--model", release, "--precision", "bf16", "--speakers", 1,
        "--size", 64, "--latent-frames", 2, "--text-tokens", 5, "--out", out,
    )  # fmt: skip
    assert code == 0, shown
    (folder,) = out.glob("tensorrt-rtx-bf16-denoiser-*")
    description = EngineDescription.read(folder)
    assert description.outputs[0].shape == (1, 16, 2, 8, 8)
    assert description.error is not None


def test_fp8_scales_of_a_released_model_come_from_real_windows_only(tmp_path: Path) -> None:
    release = write_tiny_release(tmp_path / "release", dit=TINY_SHALLOW, parts=("dit",))
    code, shown = avatar_export("tensorrt-rtx", "--model", release, "--precision", "fp8")
    assert code == 1
    assert "FP8 needs scales from real windows" in shown
