"""Draw the cast into runtime/builtin/characters: reference images in every emotion.

python -m training.make.characters
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.values import EMOTIONS
from training.drawing.cast import CastMember, cast
from training.drawing.people import Renderer
from training.shipped import CHARACTERS

SHEET = Path(__file__).parents[2] / "client_demo" / "web" / "cast.webp"
LICENSE = "Apache-2.0, drawn for Avatar Server"


def draw(member: CastMember, folder: Path) -> None:
    """Write the folder of one character: card and images."""
    folder.mkdir(parents=True)
    people = len(member.speaker_ids)
    renderer = Renderer(member.scene)
    mouth, cues = np.zeros((people, 6), np.float32), np.zeros((people, 8), np.float32)
    for emotion in EMOTIONS:
        pixels = renderer.frame(mouth, cues, [emotion] * people, np.ones(people))
        name = "picture" if emotion == "neutral" else emotion
        Image.fromarray(pixels).save(folder / f"{name}.webp", lossless=True, method=6)
    speakers = [
        {"id": id_, "name": name, "box": dict(zip(("x", "y", "width", "height"), box, strict=True))}
        for id_, name, box in zip(
            member.speaker_ids, member.speaker_names, member.scene.boxes(), strict=True
        )
    ]
    card = {
        "id": member.id,
        "name": member.name,
        "picture": "picture.webp",
        "speakers": speakers,
        "emotions": {name: f"{name}.webp" for name in EMOTIONS if name != "neutral"},
        "prompt": "",
        "license": LICENSE,
    }
    (folder / "character.json").write_text(json.dumps(card, indent=2) + "\n")


def sheet(members: list[CastMember], columns: int = 8, side: int = 160) -> Image.Image:
    """All characters in one image, for README."""
    rows = -(-len(members) // columns)
    picture = Image.new("RGB", (columns * side, rows * side))
    for number, member in enumerate(members):
        one = Image.open(CHARACTERS / member.id / "picture.webp").resize((side, side))
        picture.paste(one, (number % columns * side, number // columns * side))
    return picture


def main() -> None:
    shutil.rmtree(CHARACTERS, ignore_errors=True)
    for member in cast():
        draw(member, CHARACTERS / member.id)
    sheet(cast()).save(SHEET, quality=88)


if __name__ == "__main__":
    main()
