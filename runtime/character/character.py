"""A character: a reference image, face boxes of its speakers, emotion references and a prompt.

It is a folder:

    <id>/character.json   {"id", "name", "picture": "picture.webp",
                           "speakers": [{"id", "name", "box": {x, y, width, height}}],
                           "emotions": {"happy": "happy.webp"}, "prompt": "", "license": ""}
    <id>/picture.webp     the reference image, and one like it for each emotion in the card

Boxes are fractions of the image, origin top left, one face each; speakers are numbered from left to
right.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.character.face_mask import MOST_FACES, check_boxes
from runtime.character.pictures import ReferenceImage
from runtime.errors import BadInput, NotFound
from runtime.values import EMOTIONS, Box

CARD = "character.json"
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LARGEST_CARD = 256_000  # bytes
LONGEST_FILE_NAME = 255  # bytes, of most file systems
LONGEST_NAME = 200
LONGEST_TEXT = 4_000  # of a prompt or licence
CARD_FIELDS = {"id", "name", "picture", "speakers", "emotions", "prompt", "license"}


@dataclass(frozen=True, slots=True)
class Speaker:
    """A named voice with its own face."""

    id: str
    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Character:
    """A character folder, read and checked.

    The reference image is decoded once, at load; an emotion's reference once, at its first use.
    """

    id: str
    name: str
    folder: Path
    picture: ReferenceImage
    speakers: tuple[Speaker, ...]
    emotions: dict[str, Path] = field(default_factory=dict)  # files of the emotion references
    prompt: str = ""
    license: str = ""
    _loaded: dict[str, ReferenceImage] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, folder: Path, name: str | None = None) -> "Character":
        """Reads and checks a folder. BadInput names the file and the field at fault.

        The card's id must be `name`, by default the folder's. NotFound if the folder has no card.
        """
        card = _read_card(folder)
        name = folder.name if name is None else name
        speakers = tuple(_speaker(number, entry) for number, entry in _entries(card))
        speakers = tuple(sorted(speakers, key=lambda speaker: speaker.box.centre[0]))
        check_boxes([speaker.box for speaker in speakers])
        emotions = {_emotion(name): _inside(folder, file) for name, file in _emotions(card).items()}
        character = cls(
            id=check_id(card["id"]),
            name=check_name(card.get("name") or card["id"]),
            folder=folder,
            picture=ReferenceImage.load(_inside(folder, card["picture"])),
            speakers=speakers,
            emotions=emotions,
            prompt=check_text(card.get("prompt", ""), "prompt"),
            license=check_text(card.get("license", ""), "license"),
        )
        if character.id != name:
            raise BadInput(
                f"{folder / CARD} has the id {character.id!r}, but the id must be the folder's "
                f"name, {name!r}.",
                param="id",
            )
        if len(set(character.speaker_ids)) != len(speakers):
            raise BadInput(
                f"{folder / CARD}: two speakers share an id. Give each its own.", param="speakers"
            )
        return character

    @property
    def speaker_ids(self) -> tuple[str, ...]:
        """Ids from left to right."""
        return tuple(speaker.id for speaker in self.speakers)

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(speaker.box for speaker in self.speakers)

    def speaker_index(self, speaker_id: str) -> int:
        """The speaker's index from the left; NotFound lists the speakers."""
        if speaker_id not in self.speaker_ids:
            raise NotFound.among("speaker", speaker_id, self.speaker_ids, param="speaker")
        return self.speaker_ids.index(speaker_id)

    def emotion_picture(self, name: str) -> ReferenceImage:
        """The reference of an emotion; neutral is the reference image itself, unless it has one.

        NotFound lists the emotions.
        """
        if name not in self.emotions:
            if name == "neutral":
                return self.picture
            known = ("neutral", *self.emotions)
            raise NotFound.among("emotion", name, known, param="emotion")
        if name not in self._loaded:
            if not self.emotions[name].is_file():
                raise NotFound(
                    f"The picture {name} of {self.id} was deleted. Choose another character.",
                    param="emotion",
                )
            self._loaded[name] = ReferenceImage.load(self.emotions[name])
        return self._loaded[name]

    def read_emotions(self) -> None:
        """Decodes all emotion references now, so that the folder is needed no more."""
        for name in self.emotions:
            self.emotion_picture(name)

    def moved_to(self, folder: Path) -> "Character":
        """The same character after its folder was renamed."""
        return replace(
            self,
            folder=folder,
            picture=ReferenceImage(folder / self.picture.file.name, self.picture.pixels),
            emotions={name: folder / file.name for name, file in self.emotions.items()},
        )

    def digest(self) -> str:
        """SHA-256 of everything that shapes the video: boxes, prompt and the image files."""
        hashed = hashlib.sha256()
        shape: dict[str, Any] = {
            "speakers": [
                [speaker.id, *speaker.box.as_dict().values()] for speaker in self.speakers
            ],
            "prompt": self.prompt,
        }
        hashed.update(json.dumps(shape, sort_keys=True).encode())
        for name, file in sorted([("", self.picture.file), *self.emotions.items()]):
            hashed.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return hashed.hexdigest()

    def summary(self) -> dict[str, Any]:
        """As JSON: id, name, speakers with boxes, emotions, license."""
        return {
            "id": self.id,
            "name": self.name,
            "speakers": [
                {"id": speaker.id, "name": speaker.name, "box": speaker.box.as_dict()}
                for speaker in self.speakers
            ],
            "emotions": sorted({"neutral", *self.emotions}),
            "license": self.license,
        }


def check_id(value: object, param: str = "id") -> str:
    """`value`, if it is an id, which is safe as a folder's name; else BadInput."""
    if not isinstance(value, str) or not ID_PATTERN.fullmatch(value):
        raise BadInput(
            f"{shortened(value)} is no id. Use 1 to 64 lowercase letters, digits, - and _, "
            "starting with a letter or digit.",
            param=param,
        )
    return value


def check_name(value: object, param: str = "name") -> str:
    """`value`, if it is a name for people: one line of text, not too long; else BadInput."""
    text = check_text(value, param, LONGEST_NAME)
    if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in text):
        raise BadInput(
            f"The name {shortened(text)} holds line ends or control characters. Leave them out.",
            param=param,
        )
    return text


def check_text(value: object, param: str, longest: int = LONGEST_TEXT) -> str:
    """`value`, if it is text that can be stored, not too long; else BadInput."""
    if not isinstance(value, str):
        raise BadInput(f"{param} is {shortened(value)}, but must be text.", param=param)
    if len(value) > longest:
        raise BadInput(
            f"{param} has {len(value)} characters; at most {longest} are allowed. Shorten it.",
            param=param,
        )
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        raise BadInput(
            f"{param} is {shortened(value)}, which is not Unicode text. Write it in UTF-8.",
            param=param,
        )
    return value


def shortened(value: object) -> str:
    """`value` for a message: as Python writes it, at most 80 characters of it."""
    try:
        written = ascii(value)
    except (ValueError, RecursionError):  # an int of thousands of digits; a nest of lists
        written = f"a {type(value).__name__} too large to show"
    return written if len(written) <= 80 else f"{written[:77]}..."


def box_from(value: object, where: str) -> Box:
    """A box from JSON: exactly x, y, width and height, all numbers; else BadInput."""
    sides = ("x", "y", "width", "height")
    if not isinstance(value, dict) or set(value) != set(sides):
        raise _no_box(value, where)
    return Box(*(_side(value[side], value, where) for side in sides))


def _side(number: object, box: object, where: str) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _no_box(box, where)
    try:
        side = float(number)
    except OverflowError:  # an integer of hundreds of digits
        side = math.inf
    if not math.isfinite(side):
        raise _no_box(box, where)
    return side


def _no_box(value: object, where: str) -> BadInput:
    return BadInput(
        f"{where} is {shortened(value)}. Give numbers for x, y, width and height, "
        "as fractions of the image.",
        param="box",
    )


def _read_card(folder: Path) -> dict[str, Any]:
    file = folder / CARD
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_CARD + 1)
        if len(content) > LARGEST_CARD:
            raise BadInput(f"{file} is larger than {LARGEST_CARD} bytes, too large for a card.")
        card = json.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"{folder} has no {CARD}, so it is no character folder. Check the path."
        ) from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}). Mend or remove it.") from error
    except RecursionError:
        raise BadInput(f"{file} is nested too deeply for a card. Mend it.") from None
    except BadInput:
        raise
    except ValueError as error:  # no UTF-8, no JSON, a number of thousands of digits
        raise BadInput(
            f"{file} is no JSON ({error}). Mend it, or add the character again."
        ) from error
    if not isinstance(card, dict):
        raise BadInput(f"{file} has a JSON {type(card).__name__}, but an object is expected.")
    _check_fields(f"{file}", card, CARD_FIELDS, {"id", "picture", "speakers"})
    return card


def _check_fields(where: str, found: Iterable[str], known: set[str], needed: set[str]) -> None:
    found = set(found)
    if found - known or needed - found:
        raise BadInput(
            f"{where} has the fields {shortened(sorted(found))}. Required are {sorted(needed)}, "
            f"allowed are {sorted(known)}."
        )


def _entries(card: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    speakers = card["speakers"]
    if not isinstance(speakers, list) or not all(isinstance(entry, dict) for entry in speakers):
        raise BadInput("speakers must be a list of objects {id, name, box}.", param="speakers")
    if len(speakers) > MOST_FACES:
        raise BadInput(
            f"There are {len(speakers)} speakers; at most {MOST_FACES} are allowed. Leave some "
            "out.",
            param="speakers",
        )
    return list(enumerate(speakers, start=1))


def _speaker(number: int, entry: dict[str, Any]) -> Speaker:
    _check_fields(f"speaker {number}", entry, {"id", "name", "box"}, {"id", "box"})
    identity = check_id(entry["id"])
    box = box_from(entry["box"], f"The box of speaker {identity}")
    return Speaker(identity, check_name(entry.get("name") or identity), box)


def _emotions(card: dict[str, Any]) -> dict[str, Any]:
    emotions = card.get("emotions", {})
    if not isinstance(emotions, dict):
        raise BadInput("emotions must be an object {name: file}.", param="emotions")
    return emotions


def _emotion(name: str) -> str:
    if name not in EMOTIONS:
        raise NotFound.among("emotion", name, EMOTIONS, param="emotions")
    return name


def _inside(folder: Path, file: object) -> Path:
    """The path of a file directly in the folder; BadInput for any other."""
    if not isinstance(file, str) or not _is_plain(file):
        raise BadInput(
            f"{folder / CARD} names the image {shortened(file)}; use a plain file name in the "
            "folder.",
            param="picture",
        )
    path = folder / file
    if not path.is_file():
        raise BadInput(
            f"{folder / CARD} names {shortened(file)}, which is not there. Add the file, or mend "
            "the name.",
            param="picture",
        )
    return path


def _is_plain(file: str) -> bool:
    if not file.isprintable() or len(file.encode()) > LONGEST_FILE_NAME:
        return False
    return Path(file).name == file and file not in ("", ".", "..")
