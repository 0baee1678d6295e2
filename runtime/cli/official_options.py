"""Options of one video of the released model, from the command line or a row of a CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.command_values import parse_face
from runtime.errors import BadInput
from runtime.values import Box

if TYPE_CHECKING:
    from runtime.hunyuan.offline.job import ClipJob

BETWEEN_SPEAKERS = ";"  # in one field of a CSV
NUMBERS = {"fps": float, "steps": int, "guidance": float, "seed": int}
FILES = ("image", "out")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """Options as given; None is the release's value, or ours if the release has none."""

    image: Path | None = None
    audio: tuple[str, ...] = ()  # file, or speaker=file for each speaker
    out: Path | None = None
    face: tuple[str, ...] = ()  # [speaker=]x,y,width,height, for each speaker
    prompt: str | None = None
    prefix: str | None = None
    negative: str | None = None
    size: str | None = None  # WIDTHxHEIGHT, or the shorter side as the release counts it
    fps: float | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None


COLUMNS = tuple(JobOptions.__dataclass_fields__)


def read_rows(file: Path, defaults: JobOptions) -> list[JobOptions]:
    """The jobs of a CSV with a header of COLUMNS; an empty field takes the default.

    Files are relative to the CSV's folder. A field can have several speakers, as in
    `ana=a.wav;ben=b.wav`. BadInput names the line.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            rows = [(reader.line_num, row) for row in reader]
            header = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file} cannot be read as a CSV ({error}).", param="jobs") from error
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or not rows:
        problem = f"the unknown columns {', '.join(unknown)}" if unknown else "no jobs"
        raise BadInput(
            f"{file} has {problem}. Write a header with some of {', '.join(COLUMNS)}, and one line "
            "for each video.",
            param="jobs",
        )
    return [_with_row(defaults, row, file, line) for line, row in rows]


def to_job(options: JobOptions) -> ClipJob:
    """The job, with the release's defaults. BadInput if an option is missing or no number."""
    from runtime.hunyuan.encoders.prompts import Prompts
    from runtime.hunyuan.offline.job import ClipJob
    from runtime.hunyuan.offline.sampler import OfflineSettings

    voices = speakers_files(options.audio)
    faces = faces_of(tuple(voices), options.face)
    if options.image is None or options.out is None:
        missing = "--image FILE" if options.image is None else "--out FILE"
        raise BadInput(f"Give {missing}.", param="image" if options.image is None else "out")
    sampling = _given(steps=options.steps, guidance_scale=options.guidance)
    prompts = _given(prompt=options.prompt, prefix=options.prefix, negative=options.negative)
    return ClipJob(
        options.image,
        tuple(voices.values()),
        options.out,
        faces,
        Prompts(**prompts),
        sampling=OfflineSettings(**sampling),
        **_given(fps=options.fps, seed=options.seed),
        **_size(options.size),
    )


def speakers_files(audio: Sequence[str]) -> dict[str, Path]:
    """The file of each speaker; a single speaker needs no name. BadInput."""
    pairs = [one.rpartition("=")[::2] for one in audio]
    voices = {speaker: Path(file) for speaker, file in pairs}
    if not voices:
        raise BadInput("Give --audio FILE, or --speaker NAME=FILE for each speaker.", param="audio")
    if len(voices) < len(pairs) or (len(voices) > 1 and "" in voices):
        raise BadInput(
            f"{', '.join(audio)} does not name each speaker once. Write name=file for each.",
            param="audio",
        )
    return voices


def faces_of(speakers: Sequence[str], given: Sequence[str]) -> tuple[Box, ...]:
    """The faces in the order of the speakers; empty if none are given. BadInput.

    Without faces, a detector finds them.
    """
    faces = [parse_face(one) for one in given]
    named = dict(faces)
    if not faces:
        return ()
    if all(not speaker for speaker, _ in faces) and len(faces) == len(speakers):
        return tuple(box for _, box in faces)
    if len(named) < len(faces) or set(named) != set(speakers):
        raise BadInput(
            f"The faces of {', '.join(name or 'nobody' for name, _ in faces)} do not match the "
            f"speakers {', '.join(name or 'without a name' for name in speakers)}. Give one --face "
            "speaker=x,y,width,height for each.",
            param="face",
        )
    return tuple(named[speaker] for speaker in speakers)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _size(size: str | None) -> dict[str, Any]:
    """Arguments of a job from WIDTHxHEIGHT or the shorter side."""
    from runtime.hunyuan.encoders.preprocess import Size

    if size is None:
        return {}
    sides = size.lower().split("x")
    if not all(side.isdecimal() for side in sides) or len(sides) > 2:
        raise BadInput(
            f"{size!r} is no size. Give the shorter side, such as 704, or width and height, such "
            "as 512x768.",
            param="size",
        )
    if len(sides) == 1:
        return {"image_size": int(sides[0])}
    return {"size": Size(*map(int, sides))}


def _with_row(defaults: JobOptions, row: Mapping[str, str], file: Path, line: int) -> JobOptions:
    if None in row or None in row.values():
        raise BadInput(
            f"Line {line} of {file} has more or fewer fields than the header. Quote fields that "
            "contain commas.",
            param="jobs",
        )
    filled = {name: text.strip() for name, text in row.items() if text.strip()}
    try:
        return replace(defaults, **{name: _field(name, filled[name], file) for name in filled})
    except ValueError as error:
        raise BadInput(f"Line {line} of {file}: {error}.", param="jobs") from error


def _field(name: str, text: str, file: Path) -> Any:
    if name in NUMBERS:
        return NUMBERS[name](text)
    if name in FILES:
        return file.parent / text
    parts = tuple(part.strip() for part in text.split(BETWEEN_SPEAKERS))
    if name == "audio":
        pairs = [part.rpartition("=") for part in parts]
        return tuple(f"{name}{equals}{file.parent / sound}" for name, equals, sound in pairs)
    return parts if name == "face" else text
