from pathlib import Path

import pytest

from runtime.cli.official_options import JobOptions, read_rows, to_job
from runtime.errors import BadInput
from runtime.values import Box

USUAL = JobOptions(image=Path("a.png"), audio=("a.wav",), out=Path("a.mp4"))
LEFT, RIGHT = "0.1,0.3,0.25,0.35", "0.65,0.3,0.25,0.35"


def rows(folder: Path, text: str, usual: JobOptions = USUAL) -> list[JobOptions]:
    file = folder / "jobs.csv"
    file.write_text(text)
    return read_rows(file, usual)


def test_what_is_not_said_is_as_in_the_release() -> None:
    job = to_job(USUAL)
    assert (job.sampling.steps, job.sampling.guidance_scale, job.seed) == (50, 7.5, 128)
    assert (job.image_size, job.size, job.fps) == (704, None, 25)
    assert job.voices == (Path("a.wav"),)
    assert job.faces == ()


def test_faces_go_to_the_speakers_of_their_names() -> None:
    said = JobOptions(
        image=Path("a.png"),
        out=Path("a.mp4"),
        audio=("ana=a.wav", "ben=b.wav"),
        face=(f"ben={RIGHT}", f"ana={LEFT}"),
    )
    job = to_job(said)
    assert job.voices == (Path("a.wav"), Path("b.wav"))
    assert job.faces == (Box(0.1, 0.3, 0.25, 0.35), Box(0.65, 0.3, 0.25, 0.35))


@pytest.mark.parametrize(
    ("audio", "face"),
    [
        (("ana=a.wav", "ben=b.wav"), (f"ana={LEFT}",)),
        (("ana=a.wav", "ben=b.wav"), (f"ana={LEFT}", f"cleo={RIGHT}")),
        (("ana=a.wav", "ben=b.wav"), (f"ana={LEFT}", RIGHT)),
        (("ana=a.wav", "ben=b.wav"), (LEFT,)),
        (("a.wav",), (LEFT, RIGHT)),
    ],
)
def test_faces_that_do_not_go_with_the_speakers_are_refused(
    audio: tuple[str, ...], face: tuple[str, ...]
) -> None:
    with pytest.raises(BadInput, match="do not match the speakers"):
        to_job(JobOptions(image=Path("a.png"), out=Path("a.mp4"), audio=audio, face=face))


@pytest.mark.parametrize("audio", [("a.wav", "b.wav"), ("ana=a.wav", "ana=b.wav")])
def test_several_speakers_need_a_name_each(audio: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="does not name each speaker once"):
        to_job(JobOptions(image=Path("a.png"), out=Path("a.mp4"), audio=audio))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (JobOptions(audio=("a.wav",), out=Path("a.mp4")), "Give --image"),
        (JobOptions(image=Path("a.png"), out=Path("a.mp4")), "Give --audio"),
        (JobOptions(image=Path("a.png"), audio=("a.wav",)), "Give --out"),
    ],
)
def test_what_is_missing_is_asked_for(options: JobOptions, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        to_job(options)


def sized(size: str) -> JobOptions:
    return JobOptions(image=Path("a.png"), audio=("a.wav",), out=Path("a.mp4"), size=size)


def test_a_size_is_a_shorter_side_or_both_sides() -> None:
    assert to_job(sized("512")).image_size == 512
    assert to_job(sized("512x768")).size == (512, 768)


@pytest.mark.parametrize("size", ["", "x", "512x", "a", "1x2x3", "-512", "51.2"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(BadInput, match="is no size"):
        to_job(sized(size))


def test_rows_take_what_they_do_not_say_from_the_command_line(tmp_path: Path) -> None:
    first, second = rows(tmp_path, "out,seed,prompt\nb.mp4,3,\nc.mp4,,A singer.\n")
    assert first == JobOptions(USUAL.image, USUAL.audio, tmp_path / "b.mp4", seed=3)
    assert second == JobOptions(USUAL.image, USUAL.audio, tmp_path / "c.mp4", prompt="A singer.")


def test_files_of_a_row_are_relative_to_the_csv(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "image,audio,face\nb.png,ana=a.wav; ben=b.wav,\n")
    assert row.image == tmp_path / "b.png"
    assert row.audio == (f"ana={tmp_path / 'a.wav'}", f"ben={tmp_path / 'b.wav'}")


def test_several_faces_stand_in_one_field(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, f'face\n"ana={LEFT};ben={RIGHT}"\n')
    assert row.face == (f"ana={LEFT}", f"ben={RIGHT}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out,sed\nb.mp4,3\n", r"jobs\.csv has the unknown columns sed"),
        ("out,seed\n", "has no jobs"),
        ("", "has no jobs"),
        ("out,seed\nb.mp4,three\n", "Line 2 of .*three"),
        ("out,seed\nb.mp4\n", "Line 2 .*more or fewer fields"),
        ("out,seed\nb.mp4,1\nc.mp4,2,3\n", "Line 3 .*more or fewer fields"),
    ],
)
def test_mistakes_in_a_csv_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        rows(tmp_path, text)


def test_a_csv_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.csv cannot be read"):
        read_rows(tmp_path / "gone.csv", USUAL)
