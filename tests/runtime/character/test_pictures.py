import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.character.picture_file import read_picture
from runtime.character.pictures import fit_picture, numbered_preview, pixels_of
from runtime.errors import BadInput
from runtime.values import Box


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """The header of a PNG that claims to be side x side."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_usual_formats_are_read_as_rgb(kind: str) -> None:
    picture = read_picture(encoded(Image.new("RGB", (80, 70), "red"), kind))
    assert (picture.mode, picture.size) == ("RGB", (80, 70))
    np.testing.assert_allclose(pixels_of(picture)[30, 30], (255, 0, 0), atol=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (b"hello, I am no picture", "cannot be read"),
        (b"ID3\x04" + bytes(200), "cannot be read"),
        (encoded(Image.new("RGB", (300, 300)), "PNG")[:200], "cannot be read"),
        (bomb(60_000), "Scale it down"),
        (encoded(Image.new("RGB", (20, 900))), "each side needs 64"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read"),
    ],
)
def test_what_is_no_usable_picture_is_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        read_picture(data)
    assert refused.value.param == "picture"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.png"):
        read_picture(tmp_path / "gone.png")


def test_a_photo_taken_sideways_stands_upright() -> None:
    photo = Image.new("RGB", (100, 80), "black")
    photo.paste((255, 255, 255), (0, 0, 10, 80))  # the left edge
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to see it upright
    upright = pixels_of(read_picture(encoded(photo, "PNG", exif=exif)))
    assert upright.shape == (100, 80, 3)
    assert upright[:10].min() == 255
    assert upright[12:].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 64, 10))
    pixels = pixels_of(read_picture(encoded(picture.convert(mode))))
    assert pixels[:10].max() < 10
    assert pixels[10:].min() == 255


def test_fitting_crops_around_the_faces_and_moves_the_boxes() -> None:
    picture = Image.new("RGB", (400, 200), "black")
    picture.paste((0, 255, 0), (300, 50, 360, 110))
    fitted, (box,) = fit_picture(picture, [Box(0.75, 0.25, 0.15, 0.3)], 100, 100)
    assert fitted.size == (100, 100)
    assert box.right <= 1
    left, top, right, bottom = (round(edge * 100) for edge in (box.x, box.y, box.right, box.bottom))
    inside = pixels_of(fitted)[top + 3 : bottom - 3, left + 3 : right - 3]
    np.testing.assert_allclose(inside.reshape(-1, 3).mean(0), (0, 255, 0), atol=1)


def test_faces_too_far_apart_for_the_crop_are_refused() -> None:
    far = [Box(0.0, 0.3, 0.1, 0.3), Box(0.9, 0.3, 0.1, 0.3)]
    with pytest.raises(BadInput, match="closer together"):
        fit_picture(Image.new("RGB", (800, 200)), far, 256, 256)


def test_the_preview_shows_a_box_and_leaves_the_picture_alone() -> None:
    picture = Image.new("RGB", (128, 128), "black")
    preview = pixels_of(numbered_preview(picture, [Box(0.25, 0.25, 0.5, 0.5)]))
    assert preview[32, 64].max() > 100
    assert pixels_of(picture).max() == 0
