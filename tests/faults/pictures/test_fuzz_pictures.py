"""Damaged pictures and cards: each is read, or refused in the usual way, and nothing else happens.

The corpus is small files of each kind, made here; the damage is random with a fixed seed. `FUZZ_S`
in the environment makes it go on for longer with other seeds.
"""

import io
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.character.character import CARD, Character
from runtime.character.picture_file import FORMATS, read_photo
from runtime.character.store import BUILTIN_CHARACTERS
from runtime.errors import AvatarError, BadInput

ROUNDS = 120  # of damage to each picture
CARD_ROUNDS = 1500
FUZZ_S = float(os.environ.get("FUZZ_S", "0"))

RGB = Image.effect_noise((72, 64), 60).convert("RGB")
RGBA = Image.merge("RGBA", (*RGB.split(), Image.linear_gradient("L").resize(RGB.size)))
GREY16 = Image.fromarray(np.arange(72 * 64, dtype=np.uint16).reshape(64, 72) * 14)
FLOAT = Image.fromarray(np.linspace(0, 1, 72 * 64, dtype=np.float32).reshape(64, 72))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def with_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


ANIMATED: dict[str, object] = {"save_all": True, "append_images": [RGB.rotate(90)]}
CORPUS: dict[str, bytes] = {
    "png": encoded(RGB, "PNG"),
    "png rgba": encoded(RGBA, "PNG", exif=with_exif()),
    "png palette": encoded(RGBA.quantize(32), "PNG"),
    "png 16": encoded(GREY16, "PNG"),
    "png 1": encoded(RGB.convert("1"), "PNG"),
    "apng": encoded(RGB, "PNG", **ANIMATED),
    "jpeg": encoded(RGB, "JPEG", exif=with_exif()),
    "jpeg progressive": encoded(RGB, "JPEG", progressive=True),
    "jpeg cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "webp": encoded(RGB, "WEBP"),
    "webp lossless": encoded(RGBA, "WEBP", lossless=True, exif=with_exif()),
    "webp animated": encoded(RGB, "WEBP", **ANIMATED),
    "gif": encoded(RGB, "GIF", **ANIMATED),
    "gif transparent": encoded(RGBA, "GIF"),
    "bmp": encoded(RGB, "BMP"),
    "bmp palette": encoded(RGB.quantize(16), "BMP"),
    "tiff": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "tiff float": encoded(FLOAT, "TIFF"),
    "tiff 16": encoded(GREY16, "TIFF", compression="tiff_deflate"),
    "tiff cmyk": encoded(RGB.convert("CMYK"), "TIFF"),
}

Damage = Callable[[random.Random, bytes], bytes]


def flip(dice: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 2, 8, 64))):
        changed[dice.randrange(len(changed))] = dice.choice((0, 255, 128, dice.randrange(256)))
    return bytes(changed)


def flip_head(dice: random.Random, content: bytes) -> bytes:
    return flip(dice, content[:64]) + content[64:]


def cut(dice: random.Random, content: bytes) -> bytes:
    return content[: dice.randrange(len(content))]


def leave_out(dice: random.Random, content: bytes) -> bytes:
    start, stop = sorted(dice.randrange(len(content)) for _ in range(2))
    return content[:start] + content[stop:]


def repeat(dice: random.Random, content: bytes) -> bytes:
    start, stop = sorted(dice.randrange(len(content)) for _ in range(2))
    return content[:stop] + content[start:stop] * dice.choice((1, 3)) + content[stop:]


def splice(dice: random.Random, content: bytes) -> bytes:
    other = dice.choice(list(CORPUS.values()))
    return content[: dice.randrange(len(content))] + other[dice.randrange(len(other)) :]


def huge_number(dice: random.Random, content: bytes) -> bytes:
    number = dice.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    at = dice.randrange(min(len(content), 400))
    put = number.to_bytes(4, dice.choice(("big", "little")))
    return content[:at] + put + content[at + 4 :]


DAMAGES: tuple[Damage, ...] = (flip, flip_head, cut, leave_out, repeat, splice, huge_number)


def rounds(count: int) -> Iterator[random.Random]:
    """A seeded dice for each of `count` rounds, and for as many more as FUZZ_S allows."""
    end, seed = time.monotonic() + FUZZ_S, 0
    while seed < count or time.monotonic() < end:
        yield random.Random(seed)
        seed += 1


def read(content: bytes, dice: random.Random) -> str:
    """What became of it: "read" or "refused"; anything else raises."""
    enough = dice.choice((None, (32, 32), (16, 24)))
    source = io.BytesIO(content) if dice.random() < 0.5 else content
    try:
        photo = read_photo(source, enough=enough)
    except BadInput as refused:
        return _told(refused)
    assert photo.image.mode == "RGB"
    assert min(photo.size) >= 64
    np.asarray(photo.image)
    return "read"


def _told(refused: AvatarError, folder: str = "") -> str:
    assert 20 < len(str(refused).replace(folder, "")) < 500
    return "refused"


@pytest.mark.fault("pictures")
@pytest.mark.parametrize("kind", CORPUS)
def test_a_damaged_picture_is_read_or_refused(kind: str) -> None:
    """Any damage to a picture file ends in a picture or in one clear refusal."""
    assert read(CORPUS[kind], random.Random(0)) == "read"
    seen = set()
    for dice in rounds(ROUNDS):
        content = CORPUS[kind]
        for _ in range(dice.choice((1, 1, 2))):
            content = dice.choice(DAMAGES)(dice, content) or b"\0"
        seen.add(read(content, dice))
    assert "refused" in seen


def test_the_corpus_has_every_format() -> None:
    kinds = {Image.open(io.BytesIO(content)).format for content in CORPUS.values()}
    assert kinds == set(FORMATS)


ODD_VALUES = (
    *(None, True, 0, -1, 1e999, float("nan"), 10**400, "", "\ud800", "a\nb", "x" * 9000, "../x"),
    *([], {}, [[]], [None] * 9, {"x": 1}, ["\0"], {"happy": 3}, {"furious": "a"}, "\0"),
)


def odd_card(dice: random.Random, card: object) -> object:
    """The card with an odd value somewhere, a field missing, or one too many."""
    if isinstance(card, dict) and card and dice.random() < 0.8:
        field = dice.choice(list(card))
        change = dice.random()
        if change < 0.1:
            return {name: value for name, value in card.items() if name != field}
        if change < 0.2:
            return card | {dice.choice(("", "extra", "\n", "x" * 999)): dice.choice(ODD_VALUES)}
        return card | {field: odd_card(dice, card[field])}
    if isinstance(card, list) and card and dice.random() < 0.7:
        place = dice.randrange(len(card))
        return [*card[:place], odd_card(dice, card[place]), *card[place + 1 :]]
    return dice.choice(ODD_VALUES)


@pytest.mark.fault("pictures")
def test_a_damaged_card_is_read_or_refused(tmp_path: Path) -> None:
    """Any damage to a character's card leaves that character out with a reason, nothing more."""
    source = BUILTIN_CHARACTERS / "ana-ben"
    card = json.loads((source / CARD).read_text())
    folder = tmp_path / "ana-ben"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / CARD).unlink()
    for dice in rounds(CARD_ROUNDS):
        content = json.dumps(odd_card(dice, card)).encode()
        if dice.random() < 0.2:
            content = dice.choice(DAMAGES)(dice, content)
        (folder / CARD).write_bytes(content)
        try:
            Character.load(folder)
        except AvatarError as refused:
            _told(refused, str(folder))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"\xff\xfe{}", b"", b"null", b" " * 300_000],
)
def test_a_card_that_is_deep_huge_or_empty_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / CARD).write_bytes(content)
    with pytest.raises(BadInput):
        Character.load(tmp_path / "odd")


def test_a_folder_in_place_of_a_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd" / CARD).mkdir(parents=True)
    with pytest.raises(BadInput, match="cannot be read"):
        Character.load(tmp_path / "odd")
