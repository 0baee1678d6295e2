"""`avatar export` on the command line."""

from typer.testing import CliRunner

from export.cli import app
from tests.export.exported import model_folder, small_engines


def avatar(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_engines_that_are_there_are_listed_and_not_built_again() -> None:
    _, root = small_engines()
    before = sorted(path.name for path in root.iterdir())
    code, shown = avatar(
        "onnx", "--model", model_folder(), "--preset", "interactive",
        "--speakers", 1, "--size", 64, "--out", root,
    )  # fmt: skip
    assert code == 0, shown
    assert all(part in shown for part in ("denoiser", "decoder", "audio_encoder"))
    assert sorted(path.name for path in root.iterdir()) == before


def test_a_precision_that_an_engine_lacks_is_said_in_one_line() -> None:
    code, shown = avatar("onnx", "--precision", "fp8")
    assert code == 1
    assert "The engine onnx computes in fp32, int8, not in 'fp8'." in shown
