"""Folders of characters: find one, list all, add one from an image."""

import io
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from runtime.character.character import CARD, Character, check_id, check_name, check_text
from runtime.character.face_mask import check_boxes
from runtime.character.folders import character_folders, new_folder, write_file
from runtime.character.picture_file import PictureSource, read_photo
from runtime.character.pictures import fit_picture, numbered_preview
from runtime.errors import AvatarError, BadInput, NotFound, Taken
from runtime.values import EMOTIONS, Box

BUILTIN_CHARACTERS = Path(__file__).parents[1] / "builtin" / "characters"
DEFAULT_CHARACTER = "maya"  # of the built-in ones; hello.wav of the samples is her voice
MODEL_SIZE = (256, 256)  # px, of the built-in model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewCharacter:
    """A character to add; boxes are fractions of the upright image.

    `speakers` are the ids of the boxes, in the same order; by default speaker-1, speaker-2 and so
    on, from left to right.
    """

    id: str
    picture: PictureSource
    boxes: Sequence[Box]
    speakers: Sequence[str] = ()
    emotions: Mapping[str, PictureSource] | None = None
    name: str = ""
    prompt: str = ""
    license: str = ""


def find_characters(roots: Iterable[Path] = (BUILTIN_CHARACTERS,)) -> dict[str, Character]:
    """All characters in the folders `roots`, by id, in order; an earlier root wins.

    A folder that cannot be read is left out, and the log names its fault.
    """
    found: dict[str, Character] = {}
    for name, folder in character_folders(roots).items():
        try:
            found[name] = Character.load(folder)
        except (AvatarError, OSError) as error:
            logger.warning("The character in %s is left out: %s", folder, error)
    return found


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


def add_character(
    new: NewCharacter,
    root: Path,
    size: tuple[int, int] = MODEL_SIZE,
    taken: Collection[str] = (),
) -> Character:
    """Writes root/<id> with images cropped and scaled to `size` (width, height) px, losslessly.

    The folder appears whole, or not at all. BadInput, Taken if there is such a character in `root`
    or `taken` names it, NotWritten if the disk is full or may not be written.
    """
    folder = root / check_id(new.id)
    check_boxes(new.boxes)
    speakers = _speaker_ids(new)
    name = check_name(new.name or new.id)
    prompt, licence = check_text(new.prompt, "prompt"), check_text(new.license, "license")
    if new.id in taken:
        raise Taken(f"There is a character {new.id} already. Choose another id.", param="id")
    with new_folder(folder) as aside:
        photo = read_photo(new.picture, enough=size)
        picture, boxes = fit_picture(photo.image, new.boxes, *size, shown_size=photo.size)
        check_boxes(boxes)
        emotions = _emotion_pictures(new, photo.size, size)
        card = {
            "id": new.id,
            "name": name,
            "picture": "picture.webp",
            "speakers": _numbered(speakers, boxes),
            "emotions": {emotion: f"{emotion}.webp" for emotion in emotions},
            "prompt": prompt,
            "license": licence,
        }
        for each, image in {"picture": picture, **emotions}.items():
            write_file(aside / f"{each}.webp", webp(image))
        write_file(aside / CARD, (json.dumps(card, indent=2) + "\n").encode())
        added = Character.load(aside, new.id)
    return added.moved_to(folder)


def webp(image: Image.Image) -> bytes:
    """The image as a WebP file, without loss."""
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, method=4)
    return file.getvalue()


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
        photo = read_photo(source, enough=size, param="emotions")
        if photo.size != size_before:
            raise BadInput(
                f"The {name} picture is {photo.size[0]} x {photo.size[1]}, but the character's "
                f"picture is {size_before[0]} x {size_before[1]}. Use the same size, with the "
                "faces in the same place.",
                param="emotions",
            )
        pictures[name] = fit_picture(photo.image, new.boxes, *size)[0]
    return pictures


def _speaker_ids(new: NewCharacter) -> list[str]:
    """An id for each box, in their order."""
    names = [check_id(one, "speakers") for one in new.speakers]
    if len(set(names)) < len(names):
        raise BadInput("Two speakers share an id. Give each its own.", param="speakers")
    if names and len(names) != len(new.boxes):
        raise BadInput(
            f"There are {len(names)} speaker names for {len(new.boxes)} boxes. Name all or none.",
            param="speakers",
        )
    places = _from_left(new.boxes)
    return names or [f"speaker-{1 + places.index(place)}" for place in range(len(places))]


def _from_left(boxes: Sequence[Box]) -> list[int]:
    return sorted(range(len(boxes)), key=lambda place: boxes[place].centre[0])


def _numbered(speakers: Sequence[str], boxes: Sequence[Box]) -> list[dict[str, object]]:
    """The speakers as a card has them, from left to right."""
    return [
        {
            "id": speakers[place],
            "box": {side: round(v, 5) for side, v in boxes[place].as_dict().items()},
        }
        for place in _from_left(boxes)
    ]
