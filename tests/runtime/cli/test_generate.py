import json
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.cli.generate import app
from tests.support.models.small_world import draw, save_model, small_character, small_model
from tests.support.odd_sounds import FLOAT, voice, wav
from tests.support.wav_files import tone, write_wav


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a character of two, and two sound files."""
    folder = tmp_path_factory.mktemp("world")
    small_character(folder, ("ana", "ben"))
    save_model(small_model(), folder / "model")
    write_wav(folder / "a.wav", tone(0.7, 16_000), 16_000)
    write_wav(folder / "b.wav", tone(1.0, 22_050), 22_050)
    return folder


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def generate(world: Path, out: Path, *arguments: object) -> tuple[int, str]:
    return call(
        *("generate", "--out", out, "--checkpoint", world / "model"),
        *("--characters", world / "characters", "--character", "small", *arguments),
    )


@pytest.mark.parametrize("preset", ["interactive", "broadcast"])
def test_generate_writes_a_video_as_long_as_the_sound(
    world: Path, tmp_path: Path, preset: str
) -> None:
    out = tmp_path / "a.mp4"
    code, said = generate(world, out, "--audio", world / "a.wav", "--preset", preset)
    assert code == 0, said
    with av.open(str(out)) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 25
    with av.open(str(out)) as video:
        sound = np.concatenate([f.to_ndarray()[0] for f in video.decode(audio=0)])
    assert len(pictures) == 18
    assert pictures[0].shape == (64, 64, 3)
    assert abs(len(sound) / 48_000 - 0.72) < 0.05
    assert np.abs(sound[:30_000]).max() > 0.3


def test_two_speak_and_one_is_happy(world: Path, tmp_path: Path) -> None:
    spoken = [
        f"--speaker={who}={world / file}" for who, file in (("ana", "a.wav"), ("ben", "b.wav"))
    ]
    code, said = generate(world, tmp_path / "a.mp4", *spoken, "--emotion", "ben=happy")
    assert code == 0, said
    assert "1.0 s of small" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --audio FILE"),
        (["--audio", "gone.wav"], "no sound file gone.wav"),
        (["--speaker", "bob=x.wav"], "no speaker 'bob'"),
        (["--speaker", "x.wav"], "no pair"),
        (["--audio", "gone.wav", "--preset", "quick"], "balanced"),
        (["--audio", "gone.wav", "--character", "nobody"], "no character 'nobody'"),
        (["--audio", "{world}/a.wav", "--engine", "warp"], "no engine 'warp'"),
        (["--audio", "{world}/a.wav", "--engine", "onnx", "--engines", "none"], "avatar export"),
        (["--audio", "{world}/a.wav", "--engine", "onnx", "--provider", "vino"], "cpu, cuda, tens"),
        (["--audio", "{world}/a.wav", "--provider", "cuda"], "only the engine onnx has providers"),
    ],
)
def test_mistakes_are_told_in_one_line(
    world: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [one.format(world=world) for one in arguments]
    code, said = generate(world, tmp_path / "a.mp4", *given)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


@pytest.mark.fault("intruders")
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.gif", "x.gif ends with .gif, and videos are written as .mp4, .mov or .mkv"),
        (".", ". is a folder"),
        ("none/x.mp4", "There is no folder none"),
        ("/sys/x.mp4", "/sys/x.mp4 cannot be written: "),
        ("./sound.mp4", "sound.mp4 is also the input sound.mp4"),
        ("link.mp4", "link.mp4 is also the input sound.mp4"),
        ("full.mp4", "full.mp4 is broken: No space left on device."),
    ],
)
def test_outputs_that_cannot_be_are_told_in_one_line(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    """An output of `avatar generate` that cannot be written is told, and nothing is lost."""
    monkeypatch.chdir(tmp_path)
    Path("sound.mp4").write_bytes((world / "a.wav").read_bytes())
    Path("link.mp4").symlink_to("sound.mp4")
    Path("full.mp4").symlink_to("/dev/full")
    before = sorted(tmp_path.iterdir())
    code, said = generate(world, Path(out), "--audio", "sound.mp4")
    assert code == 1
    assert message in said
    assert said.count("\n") <= 2  # the bar of the progress, and the message
    assert sorted(tmp_path.iterdir()) == before
    assert Path("sound.mp4").read_bytes() == (world / "a.wav").read_bytes()


@pytest.mark.fault("odd-sound")
def test_what_is_odd_about_a_sound_file_is_told(world: Path, tmp_path: Path) -> None:
    """`avatar generate` takes a file with NaN, and says so."""
    odd = tmp_path / "odd.wav"
    samples = voice(0.3)
    samples[100:110] = float("nan")
    odd.write_bytes(wav(samples.astype("<f4").tobytes(), FLOAT, 32))
    code, said = generate(world, tmp_path / "a.mp4", "--audio", odd)
    assert code == 0, said
    assert "odd.wav has 10 values that are no numbers" in said


def test_the_list_as_json_has_ids_and_boxes(world: Path) -> None:
    code, said = call("characters", "list", "--json", "--characters", world / "characters")
    assert code == 0
    small = next(one for one in json.loads(said) if one["id"] == "small")
    assert [speaker["id"] for speaker in small["speakers"]] == ["ana", "ben"]
    assert set(small["speakers"][0]["box"]) == {"x", "y", "width", "height"}


def test_the_list_is_readable(world: Path) -> None:
    code, said = call("characters", "list", "--characters", world / "characters")
    assert code == 0
    assert "ana, ben" in said


def test_a_character_is_added_and_previewed(tmp_path: Path) -> None:
    picture = draw(tmp_path / "p.png", (200, 200))
    added = call(
        *("characters", "add", "pair", picture, "--characters", tmp_path / "mine"),
        *("--box", "ana=0.1,0.3,0.25,0.35", "--box", "ben=0.65,0.3,0.25,0.35"),
    )
    assert added[0] == 0, added[1]
    assert (tmp_path / "mine" / "pair-preview.png").is_file()
    out = tmp_path / "shown.png"
    code, said = call(
        "characters", "preview", "pair", "--characters", tmp_path / "mine", "--out", out
    )
    assert code == 0
    assert "1 ana, 2 ben" in said
    assert out.is_file()


def test_a_box_in_pixels_is_refused(tmp_path: Path) -> None:
    picture = draw(tmp_path / "p.png", (200, 200))
    code, said = call(
        "characters", "add", "x", picture, "--box", "20,30,50,60", "--characters", tmp_path
    )
    assert code == 1
    assert "not pixels" in said
    code, said = call("characters", "add", "x", picture, "--box", "a,b", "--characters", tmp_path)
    assert code == 1
    assert "is no face" in said
