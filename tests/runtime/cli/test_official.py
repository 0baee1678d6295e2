"""`avatar official` on a released folder of tiny width."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli.generate import app
from runtime.cli.official import parse_lora
from runtime.errors import BadInput
from tests.support.released.released_world import ReleasedWorld

pytestmark = pytest.mark.slow

FACE = "0.1,0.3,0.25,0.35"
OTHER_FACE = "0.65,0.3,0.25,0.35"


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["official", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def official(world: ReleasedWorld, *arguments: object) -> tuple[int, str]:
    return call(
        *("--weights", world.folder / "weights", "--device", "cpu"),
        *("--dtype", "fp32", "--embeddings", world.folder / "embeddings", "--steps", 2),
        *("--size", "64x64", *arguments),
    )


def test_a_picture_and_a_sound_become_a_video(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    code, said = official(
        *(released_world, "--image", released_world.folder / "a.png", "--face", FACE),
        *("--audio", released_world.folder / "a.wav", "--out", tmp_path / "a.mp4"),
    )
    assert code == 0, said
    assert "a.mp4 video" in said
    assert "100%" in said
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_jobs_of_a_csv_are_made_but_not_twice(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    folder = released_world.folder
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(
        "out,image,audio,face,guidance\n"
        f'one.mp4,{folder}/a.png,{folder}/a.wav,"{FACE}",1\n'
        f"two.mp4,{folder}/a.png,ana={folder}/a.wav;ben={folder}/b.wav,"
        f'"ana={FACE};ben={OTHER_FACE}",1\n'
    )
    (tmp_path / "one.mp4").write_text("made before")
    code, said = official(released_world, "--jobs", jobs)
    assert code == 0, said
    assert "one.mp4 exists and is not made again" in said
    assert (tmp_path / "one.mp4").read_text() == "made before"
    assert (tmp_path / "two.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give --audio FILE"),
        (("--audio", "gone.wav"), "Give --image FILE"),
        (("--audio", "gone.wav", "--image", "gone.png"), "gone.png"),
        (("--audio", "a.wav", "--image", "a.png", "--size", "9"), "becomes"),
        (("--audio", "a.wav", "--image", "a.png", "--face", "1,2"), "is no face"),
        (("--audio", "a.wav", "--image", "a.png", "--fps", "30"), "fps is 30"),
        (("--audio", "a.wav", "--image", "a.png", "--device", "tpu9"), "no device 'tpu9'"),
        (("--audio", "a.wav", "--image", "a.png", "--device", "meta"), "Use cuda or cpu"),
        (("--audio", "a.wav", "--image", "a.png", "--device", "cuda:99"), "NVIDIA GPUs"),
    ],
)
def test_mistakes_are_told_in_one_line(
    released_world: ReleasedWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(released_world.folder)
    code, said = official(released_world, "--out", tmp_path / "a.mp4", "--face", FACE, *arguments)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


def test_a_folder_without_weights_is_named(released_world: ReleasedWorld, tmp_path: Path) -> None:
    code, said = call(
        *("--weights", tmp_path, "--device", "cpu"),
        *("--image", released_world.folder / "a.png", "--audio", released_world.folder / "a.wav"),
    )
    assert code == 1
    assert "is no released folder" in said


def test_options_of_generate_are_not_taken() -> None:
    code, said = call("--weights", "x", "--character", "mira")
    assert code == 2
    assert "No such option" in said


def test_a_lora_has_a_strength() -> None:
    assert parse_lora("a.safetensors:0.5").strength == 0.5
    assert parse_lora("a.safetensors").file == Path("a.safetensors")
    with pytest.raises(BadInput, match="is no LoRA"):
        parse_lora("a.safetensors:much")
