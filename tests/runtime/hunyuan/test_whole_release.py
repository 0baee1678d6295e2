"""A download with every tensor of the release, in tiny width: checked, converted, streamed."""

from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from runtime.cli.generate import app
from runtime.hunyuan.layout import ReleasedLayout
from tests.support.models.small_world import babble, draw
from tests.support.released.released_folder import TINY_RELEASE, write_tiny_release
from tests.support.wav_files import write_wav

pytestmark = pytest.mark.slow


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_tiny_release(folder / "weights", dit=TINY_RELEASE)
    draw(folder / "a.png")
    write_wav(folder / "a.wav", babble(0.5), 16_000)
    return folder


def talk(folder: Path, out: str, *arguments: str) -> int:
    """How many pictures the video has."""
    call(
        *("official", "--weights", folder / "weights"),
        *("--image", folder / "a.png", "--audio", folder / "a.wav", "--out", folder / out),
        *("--face", "0.1,0.3,0.25,0.35", "--size", "64x64", "--steps", "1", "--device", "cpu"),
        *("--embeddings", folder / "embeddings", *arguments),
    )
    with av.open(str(folder / out)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_a_download_is_complete_converts_and_talks(folder: Path) -> None:
    assert "PROBLEM" not in call("weights", "check", folder / "weights")
    assert talk(folder, "released.mp4") == 12
    layout = ReleasedLayout.find(folder / "weights")
    call("weights", "convert", folder / "weights", "--to", "bf16")
    layout.pickle("bf16").unlink()
    assert talk(folder, "converted.mp4") == 12
    assert (folder / "converted.mp4").read_bytes() == (folder / "released.mp4").read_bytes()


def test_float8_weights_that_take_turns_talk(folder: Path) -> None:
    assert talk(folder, "fp8.mp4", "--dtype", "fp8", "--low-memory") == 12
