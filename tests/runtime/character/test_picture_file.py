"""Pictures of every kind that people have, and of the kinds that they should not send."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from runtime.character.picture_file import (
    LARGEST_PIXELS,
    LARGEST_PIXELS_DEEP,
    read_photo,
    read_picture,
)
from runtime.errors import BadInput

RAMP = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))
GREY = Image.fromarray(RAMP)
NO_SUCH_ORIENTATION = "4d4d002a00000008" + "0001" + "0112000300000001" + "00630000" + "00000000"


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def array(values: np.ndarray, kind: str = "TIFF") -> bytes:
    return encoded(Image.fromarray(values), kind)


def png_head(width: int, height: int, depth: int, colour: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def lab() -> bytes:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return encoded(
        ImageCms.profileToProfile(GREY.convert("RGB"), *profiles, outputMode="LAB"), "TIFF"
    )


KINDS = {
    "grey": encoded(GREY, "PNG"),
    "grey and alpha": encoded(GREY.convert("LA"), "PNG"),
    "palette": encoded(GREY.convert("P"), "PNG"),
    "16-bit PNG": array(RAMP.astype(np.uint16) * 257, "PNG"),
    "16-bit TIFF": array(RAMP.astype(np.uint16) * 257),
    "12-bit TIFF": array(RAMP.astype(np.uint16) * 16),
    "32-bit of 16 bits": array(RAMP.astype(np.int32) * 257),
    "32-bit of 8 bits": array(RAMP.astype(np.int32)),
    "float to 255": array(RAMP.astype(np.float32)),
    "float to 1": array(RAMP.astype(np.float32) / 255),
    "CMYK TIFF": encoded(GREY.convert("RGB").convert("CMYK"), "TIFF"),
    "CMYK JPEG": encoded(GREY.convert("RGB").convert("CMYK"), "JPEG", quality=95),
    "YCbCr": encoded(GREY.convert("YCbCr"), "JPEG", quality=95),
    "LAB": lab(),
    "animated GIF": encoded(GREY, "GIF", save_all=True, append_images=[Image.new("L", GREY.size)]),
    "animated WebP": encoded(
        GREY.convert("RGB"),
        "WEBP",
        lossless=True,
        save_all=True,
        append_images=[Image.new("RGB", GREY.size)],
    ),
    "two pages": encoded(GREY, "TIFF", save_all=True, append_images=[Image.new("L", GREY.size)]),
    "damaged EXIF": encoded(GREY, "JPEG", quality=95, exif=b"Exif\0\0no TIFF at all"),
    "orientation of nothing": encoded(
        GREY,
        "JPEG",
        quality=95,
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0c\0\0\0\0",
    ),
}


@pytest.mark.fault("pictures")
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind_keep_their_brightness(kind: str) -> None:
    """A picture of 1 to 32 bits, grey, CMYK or LAB, still or animated, looks as it should."""
    picture = read_picture(KINDS[kind])
    assert picture.mode == "RGB"
    found = np.asarray(picture).astype(int).mean(2)
    np.testing.assert_allclose(found, RAMP, atol=8)


def test_black_and_white_stays_black_and_white() -> None:
    found = np.asarray(read_picture(encoded(GREY.point(lambda v: 255 * (v > 99), "1"), "PNG")))
    assert set(np.unique(found)) == {0, 255}


@pytest.mark.parametrize("value", [-1.0, 1e9, float("nan"), float("inf")])
def test_grey_values_without_a_known_scale_are_refused_by_name(value: float) -> None:
    values = RAMP.astype(np.float32)
    values[3, 3] = value
    with pytest.raises(BadInput, match="Save it as an 8-bit PNG"):
        read_picture(array(values))


@pytest.mark.fault("pictures")
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("alpha", [0, 5])
def test_a_picture_that_is_transparent_all_over_is_refused(mode: str, alpha: int) -> None:
    """A picture of which nothing can be seen is refused, not taken as white."""
    picture = Image.new("RGBA", (80, 80), (200, 100, 50, alpha)).convert(mode)
    with pytest.raises(BadInput, match="transparent all over"):
        read_picture(encoded(picture, "PNG"))


@pytest.mark.fault("pictures")
@pytest.mark.parametrize(
    ("depth", "colour", "most"),
    [
        (8, 2, LARGEST_PIXELS),
        (8, 0, LARGEST_PIXELS),
        (8, 6, LARGEST_PIXELS_DEEP),
        (8, 4, LARGEST_PIXELS_DEEP),
        (16, 0, LARGEST_PIXELS_DEEP),
    ],
)
def test_a_picture_of_too_many_pixels_is_refused_by_its_head(
    depth: int, colour: int, most: int
) -> None:
    """A small file that unpacks to a huge picture is refused before anything is decoded."""
    for width, height in ((5001, most // 5000), (20_000, 20_000), (60_000, 60_000), (most + 1, 64)):
        with pytest.raises(BadInput, match="Scale it down"):
            read_picture(png_head(width, height, depth, colour))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_large_picture_is_shrunk_as_it_is_decoded_and_looks_the_same(
    kind: str, mode: str
) -> None:
    if (kind, mode) in {("PNG", "CMYK"), ("WEBP", "CMYK"), ("WEBP", "L"), ("JPEG", "RGBA")}:
        pytest.skip("there are no such files")
    large = GREY.resize((1200, 1000)).convert("RGB").convert(mode)
    photo = read_photo(encoded(large, kind), enough=(64, 64))
    assert photo.size == (1200, 1000)
    assert 2 * 64 <= min(photo.image.size) < 500
    found = np.asarray(photo.image.resize((96, 80))).astype(int).mean(2)
    np.testing.assert_allclose(found, RAMP, atol=10)


@pytest.mark.parametrize("turn", range(1, 9))
def test_all_eight_orientations_stand_upright(turn: int) -> None:
    corner = Image.new("RGB", (120, 80), "white")
    corner.paste((0, 0, 0), (0, 0, 20, 20))
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    taken = corner.transpose(back[turn]) if turn in back else corner
    for kind in ("JPEG", "PNG", "WEBP"):
        photo = read_photo(encoded(taken, kind, exif=exif))
        assert (photo.size, photo.image.size) == ((120, 80), (120, 80))
        assert np.asarray(photo.image)[:15, :15].max() < 60
        assert np.asarray(photo.image)[40:, 60:].min() > 200


def test_the_kind_of_a_phones_picture_is_named() -> None:
    with pytest.raises(BadInput, match=r"it is HEIC.*PNG, JPEG"):
        read_picture(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(500))


def test_a_message_never_shows_where_the_upload_lies() -> None:
    for source in (b"no picture", io.BytesIO(b"no picture"), io.BytesIO(b"")):
        with pytest.raises(BadInput) as refused:
            read_picture(source)
        assert "0x" not in str(refused.value)
        assert "BytesIO" not in str(refused.value)


def test_an_open_file_is_read_from_its_start() -> None:
    file = io.BytesIO(KINDS["grey"])
    file.seek(40)
    assert read_picture(file).size == (96, 80)
