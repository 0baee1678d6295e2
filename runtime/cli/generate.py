"""`avatar generate` and `avatar characters`: the runtime on the command line."""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.character.character import Character
from runtime.character.folders import character_folders
from runtime.character.store import (
    BUILTIN_CHARACTERS,
    NewCharacter,
    add_character,
    default_character,
    find_character,
    find_characters,
    preview,
)
from runtime.cli import weights as weights_cli
from runtime.cli.command_values import (
    check_characters,
    check_picture_output,
    own_characters,
    parse_face,
    parse_pair,
    plain_errors,
    save_picture,
)
from runtime.cli.official import generate_official
from runtime.engine.kinds import FILES, PRECISIONS, PROVIDERS, EngineChoice
from runtime.errors import BadInput
from runtime.stream.presets import PRESETS, StreamPreset, find_preset
from runtime.timing import VIDEO_FPS

if TYPE_CHECKING:
    from runtime.stream.generator import StreamingGenerator

app = typer.Typer(help="Talking characters, without a server.", no_args_is_help=True)
app.command("official")(generate_official)
characters = typer.Typer(help="List, add and preview characters.", no_args_is_help=True)
app.add_typer(characters, name="characters")
app.add_typer(weights_cli.app, name="weights")

Folder = Annotated[
    Path,
    typer.Option(
        "--characters",
        help="Folder of your own characters; default: ~/.local/share/avatar-server/characters.",
        default_factory=own_characters,
        show_default=False,
    ),
]


@app.command()
def generate(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The video: .mp4, .mov or .mkv.")] = Path("talk.mp4"),
    audio: Annotated[
        Path | None, typer.Option(help="A sound file for the character's first speaker.")
    ] = None,
    speaker: Annotated[
        list[str] | None, typer.Option(help="speaker=file, once for each speaker.")
    ] = None,
    character: Annotated[
        str | None, typer.Option(help="Default: the first of yours, else maya.")
    ] = None,
    emotion: Annotated[
        list[str] | None, typer.Option(help="An emotion for all, or speaker=emotion.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(PRESETS)}. The released weights have a command of their own: "
            "avatar official."
        ),
    ] = "interactive",
    seed: Annotated[int, typer.Option(help="Another seed, another idle motion.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A model folder. Default: the built-in model.")
    ] = None,
    engine: Annotated[str, typer.Option(help=", ".join(PRECISIONS))] = "torch",
    precision: Annotated[str, typer.Option(help="What the engine computes in.")] = "fp32",
    provider: Annotated[
        str | None, typer.Option(help=f"Of --engine onnx: {', '.join(PROVIDERS)}; default: cpu.")
    ] = None,
    engines: Annotated[Path, typer.Option(help="The folder that `avatar export` filled.")] = FILES,
) -> None:
    """Make a talking video from sound files."""
    with plain_errors():
        choice = EngineChoice(engine, precision, engines, provider)
        chosen = choose_character(character, folder, [parse_pair(one)[0] for one in speaker or []])
        files = sound_files(chosen, audio, speaker or [])
        found = find_preset(preset)

        from runtime.media_files.outputs import check_video_output  # the client's, a second

        check_video_output(out, files.values())

        from runtime.media_files.generate import (  # torch takes seconds
            read_voices,
            write_talking_video,
        )

        voices = read_voices(files)
        for note in voices.notes:
            typer.echo(note, err=True)
        stream = open_stream(checkpoint, chosen, found, seed, choice)
        for who, _, name in (one.rpartition("=") for one in emotion or []):
            for one in [who] if who else chosen.speaker_ids:
                stream.set_emotion(one, name)
        start = time.perf_counter()
        with typer.progressbar(length=voices.frames, label="Generating") as bar:
            count = write_talking_video(stream, voices, out, bar.update)
        spent = time.perf_counter() - start
        length_s = count / VIDEO_FPS
        typer.echo(f"{out}: {length_s:.1f} s of {chosen.id}, generated in {spent:.1f} s")


@characters.command("list")
def list_command(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the characters and their speakers."""
    with plain_errors():
        check_characters(folder)
        found = find_characters((folder, BUILTIN_CHARACTERS)).values()
        if as_json:
            typer.echo(json.dumps([one.summary() for one in found], indent=2))
            return
        table = Table("id", "name", "speakers, from the left", "emotions")
        for one in found:
            emotions = ", ".join(one.summary()["emotions"])
            cells = (one.id, one.name, ", ".join(one.speaker_ids), emotions)
            table.add_row(*map(Text, cells))  # as they are: names may hold rich's markup
        console = Console()
        with console.capture() as shown:
            console.print(table)
        encoding = sys.stdout.encoding or "ascii"  # a name that it lacks becomes question marks
        typer.echo(shown.get().encode(encoding, "replace").decode(encoding), nl=False)


@characters.command("add")
def add_command(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Small letters, digits, - and _.")],
    picture: Annotated[Path, typer.Argument(help="The character, mouth closed.")],
    folder: Folder,
    box: Annotated[
        list[str] | None,
        typer.Option(help="A face: [speaker=]x,y,width,height as fractions of the picture."),
    ] = None,
    name: Annotated[str, typer.Option(help="The name that lists show.")] = "",
    emotion: Annotated[
        list[str] | None, typer.Option(help="emotion=file, the same picture with that emotion.")
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="Of the picture.")] = "",
) -> None:
    """Add a character from a picture; faces in the picture get numbered boxes."""
    with plain_errors():
        if not box:
            raise BadInput(
                f"Give the faces in {picture}: --box x,y,width,height for each, as fractions of "
                "the picture from its top left, such as --box 0.3,0.2,0.4,0.5"
            )
        faces = [parse_face(one) for one in box]
        if os.path.lexists(folder):
            check_characters(folder)
        named = [who for who, _ in faces if who]
        new = NewCharacter(
            id=identity,
            picture=picture,
            boxes=[place for _, place in faces],
            speakers=named,
            emotions={of: Path(file) for of, file in map(parse_pair, emotion or [])},
            name=name,
            license=licence,
        )
        added = add_character(new, folder, taken=character_folders((BUILTIN_CHARACTERS,)))
        typer.echo(f"Added {added.id} in {added.folder}: speakers {', '.join(added.speaker_ids)}.")
        shown = folder / f"{added.id}-preview.png"
        save_picture(preview(added), shown)
        use = "" if folder == own_characters() else f" --characters {folder}"
        typer.echo(f"Look at the boxes in {shown}. Use it: avatar serve{use}")


@characters.command("preview")
def preview_command(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Default: ID-preview.png")] = None,
) -> None:
    """Write the character's picture with its speakers' boxes numbered from the left."""
    with plain_errors():
        check_characters(folder)
        found = find_character(identity, (folder, BUILTIN_CHARACTERS))
        shown = out or Path(f"{identity}-preview.png")
        check_picture_output(shown)
        save_picture(preview(found), shown)
        numbered = enumerate(found.speaker_ids, start=1)
        typer.echo(f"{shown}: " + ", ".join(f"{number} {who}" for number, who in numbered))


def open_stream(
    checkpoint: Path | None,
    character: Character,
    preset: StreamPreset,
    seed: int,
    choice: EngineChoice,
) -> "StreamingGenerator":
    """A stream of the model in a folder, or of the built-in one, on the chosen engine."""
    from runtime.engine.choice import open_engines, stream_shape
    from runtime.stream.generator import StreamingGenerator
    from runtime.weights.checkpoint import load, load_builtin

    model = load(checkpoint) if checkpoint else load_builtin()
    engines = open_engines(choice, model, stream_shape(model, character, preset.window))
    return StreamingGenerator(model, character, preset, seed, engines=engines)


def choose_character(identity: str | None, folder: Path, speakers: list[str]) -> Character:
    """The character of that id, or the default one that has the named speakers."""
    check_characters(folder)
    roots = (folder, BUILTIN_CHARACTERS)
    if identity is not None:
        return find_character(identity, roots)
    return default_character(find_characters(roots), speakers)


def sound_files(character: Character, audio: Path | None, spoken: list[str]) -> dict[str, Path]:
    """The sound file of each speaker, from `--audio` and `--speaker name=file`."""
    files = {who: Path(file) for who, file in map(parse_pair, spoken)}
    if audio is not None:
        files.setdefault(character.speaker_ids[0], audio)
    for who in files:
        character.speaker_index(who)
    if not files:
        raise BadInput("Give --audio FILE, or --speaker NAME=FILE for each speaker.")
    return files


if __name__ == "__main__":
    app()
