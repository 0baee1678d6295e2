"""Folders of characters: find one, list all, add one from an image."""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from runtime.character.character import CARD, Character, check_id
from runtime.character.face_mask import check_boxes
from runtime.character.pictures import fit_picture, numbered_preview, read_picture
from runtime.errors import BadInput, NotFound
from runtime.values import EMOTIONS, Box

BUILTIN_CHARACTERS = Path(__file__).parents[1] / "builtin" / "characters"
DEFAULT_CHARACTER = "maya"  # of the built-in ones; hello.wav of the samples is her voice
MODEL_SIZE = (256, 256)  # px, of the built-in model

FolderStamp = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size of each file in a folder, sorted."""


@dataclass(frozen=True, slots=True)
class NewCharacter:
    """A character to add; boxes are fractions of the upright image.

    `speakers` are the ids of the boxes, in the same order; by default speaker-1, speaker-2 and so
    on, from left to right.
    """

    id: str
    picture: Path | bytes
    boxes: Sequence[Box]
    speakers: Sequence[str] = ()
    emotions: Mapping[str, Path | bytes] | None = None
    name: str = ""
    prompt: str = ""
    license: str = ""


def character_folders(roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> dict[str, Path]:
    """The character folders in `roots`, by id, in order; an earlier root wins."""
    folders: dict[str, Path] = {}
    for root in roots:
        for card in sorted(root.glob(f"*/{CARD}")):
            folders.setdefault(card.parent.name, card.parent)
    return folders


def folder_stamp(folder: Path) -> FolderStamp:
    """Changes if a file of the folder is added, removed, renamed or written; reads no file.

    Empty if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            files = [(entry.name, entry.stat()) for entry in entries]
    except OSError:  # the folder or a file is gone, or may not be read
        return ()
    return tuple(sorted((name, found.st_mtime_ns, found.st_size) for name, found in files))


def find_characters(roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> dict[str, Character]:
    """All characters in the folders `roots`, by id, in order; an earlier root wins."""
    return {name: Character.load(folder) for name, folder in character_folders(roots).items()}


def default_character(
    characters: Mapping[str, Character], speakers: Collection[str] = ()
) -> Character:
    """The character of a command or session that names none: one with all of `speakers`.

    Of these, one with the fewest speakers; of these, the first of the user's own, else the built-in
    DEFAULT_CHARACTER, else the first. BadInput if there is none.
    """
    if not characters:
        raise BadInput("There is no character. Add one: avatar characters add", param="character")
    able = [one for one in characters.values() if set(speakers) <= set(one.speaker_ids)]
    if not able:
        raise BadInput(
            f"No character has the speakers {', '.join(sorted(speakers))}. Use the speakers of one "
            "character: avatar characters list",
            param="speaker",
        )
    return min(able, key=_default_order)


def _default_order(character: Character) -> tuple[int, bool, bool]:
    is_builtin = character.folder.parent == BUILTIN_CHARACTERS
    return len(character.speakers), is_builtin, character.id != DEFAULT_CHARACTER


def find_character(identity: str, roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> Character:
    """The character of that id; NotFound lists the ids."""
    folders = character_folders(roots)
    if identity not in folders:
        raise NotFound.among("character", identity, folders, param="character")
    return Character.load(folders[identity])


def add_character(new: NewCharacter, root: Path, size: tuple[int, int] = MODEL_SIZE) -> Character:
    """Writes root/<id> with images cropped and scaled to `size` (width, height) px, losslessly.

    Leaves nothing behind if it fails, and never overwrites a character: BadInput.
    """
    folder = root / check_id(new.id)
    if folder.exists():
        raise BadInput(
            f"{folder} exists. Choose another id, or delete the folder first.", param="id"
        )
    check_boxes(new.boxes)
    original = read_picture(new.picture)
    picture, boxes = fit_picture(original, new.boxes, *size)
    check_boxes(boxes)
    emotions = _emotion_pictures(new, original.size, size)
    card = {
        "id": new.id,
        "name": new.name or new.id,
        "picture": "picture.webp",
        "speakers": _named(new.speakers, boxes),
        "emotions": {name: f"{name}.webp" for name in emotions},
        "prompt": new.prompt,
        "license": new.license,
    }
    folder.mkdir(parents=True)
    try:
        for name, image in {"picture": picture, **emotions}.items():
            image.save(folder / f"{name}.webp", lossless=True, method=4)
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        return Character.load(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


def preview(character: Character) -> Image.Image:
    """The reference image with the speakers' boxes, numbered from the left."""
    return numbered_preview(Image.fromarray(character.picture.pixels), character.boxes)


def _emotion_pictures(
    new: NewCharacter, size_before: tuple[int, int], size: tuple[int, int]
) -> dict[str, Image.Image]:
    pictures: dict[str, Image.Image] = {}
    for name, source in (new.emotions or {}).items():
        if name not in EMOTIONS:
            raise NotFound.among("emotion", name, EMOTIONS, param="emotions")
        picture = read_picture(source, param="emotions")
        if picture.size != size_before:
            raise BadInput(
                f"The {name} picture is {picture.width} x {picture.height}, but the character's "
                f"picture is {size_before[0]} x {size_before[1]}. Use the same size, with the "
                "faces in the same place.",
                param="emotions",
            )
        pictures[name] = fit_picture(picture, new.boxes, *size)[0]
    return pictures


def _named(names: Sequence[str], boxes: Sequence[Box]) -> list[dict[str, object]]:
    if names and len(names) != len(boxes):
        raise BadInput(
            f"There are {len(names)} speaker names for {len(boxes)} boxes. Name all or none.",
            param="speakers",
        )
    places = sorted(range(len(boxes)), key=lambda place: boxes[place].centre[0])
    return [
        {
            "id": names[place] if names else f"speaker-{number}",
            "box": {side: round(v, 5) for side, v in boxes[place].as_dict().items()},
        }
        for number, place in enumerate(places, start=1)
    ]
