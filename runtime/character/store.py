"""Folders of characters: find one, list all, add one from a picture."""

import json
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
MODEL_SIZE = (256, 256)  # px, of the built-in model
WEBP_QUALITY = 95


@dataclass(frozen=True, slots=True)
class NewCharacter:
    """What a new character is made from; boxes are fractions of the upright picture.

    `speakers` names the boxes in their order; without names they are speaker-1, speaker-2, ..
    from left to right.
    """

    id: str
    picture: Path | bytes
    boxes: Sequence[Box]
    speakers: Sequence[str] = ()
    emotions: Mapping[str, Path | bytes] | None = None
    name: str = ""
    prompt: str = ""
    license: str = ""


def find_characters(roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> dict[str, Character]:
    """All characters in the folders `roots`, by id, in order; an earlier root wins."""
    found: dict[str, Character] = {}
    for root in roots:
        for card in sorted(root.glob(f"*/{CARD}")):
            found.setdefault(card.parent.name, Character.load(card.parent))
    return found


def default_character(
    characters: Mapping[str, Character], speakers: Collection[str] = ()
) -> Character:
    """The one that talks where none was asked for: the first with the fewest speakers.

    Of those with all of `speakers`, where some are named. BadInput where there is none.
    """
    if not characters:
        raise BadInput("There is no character. Add one: avatar characters add", param="character")
    able = [one for one in characters.values() if set(speakers) <= set(one.speaker_ids)]
    if not able:
        raise BadInput(
            f"Found no character with the speakers {', '.join(sorted(speakers))}. Expected names "
            "that one character has: avatar characters list",
            param="speaker",
        )
    return min(able, key=lambda character: len(character.speakers))


def find_character(identity: str, roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> Character:
    """The character of that id, or NotFound listing the ids."""
    characters = find_characters(roots)
    if identity not in characters:
        raise NotFound.among("character", identity, characters, param="character")
    return characters[identity]


def add_character(new: NewCharacter, root: Path, size: tuple[int, int] = MODEL_SIZE) -> Character:
    """Writes root/<id> with pictures cropped and scaled to `size` (width, height) px.

    Nothing is left behind when it fails, and an existing character is never overwritten.
    """
    folder = root / check_id(new.id)
    if folder.exists():
        raise BadInput(f"{folder} exists. Choose another id, or delete it first.", param="id")
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
            image.save(folder / f"{name}.webp", quality=WEBP_QUALITY, method=4)
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        return Character.load(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


def preview(character: Character) -> Image.Image:
    """The character's picture with its speakers' boxes numbered from the left."""
    return numbered_preview(read_picture(character.picture), character.boxes)


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
                f"The {name} picture is {picture.width} x {picture.height}, the character's "
                f"{size_before[0]} x {size_before[1]}. Use the same size and place.",
                param="emotions",
            )
        pictures[name] = fit_picture(picture, new.boxes, *size)[0]
    return pictures


def _named(names: Sequence[str], boxes: Sequence[Box]) -> list[dict[str, object]]:
    if names and len(names) != len(boxes):
        raise BadInput(
            f"{len(names)} speaker names for {len(boxes)} boxes. Name all or none.",
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
