"""How much memory the largest allowed pictures take, measured in a process of their own."""

import subprocess
import sys

import pytest

DECODE = """
import os, resource, sys
from PIL import Image
from runtime.character.picture_file import LARGEST_PIXELS, LARGEST_PIXELS_DEEP, read_photo
kind, mode = sys.argv[1:]
deep = mode == "RGBA" or kind == "WEBP"
side = int((LARGEST_PIXELS_DEEP if deep else LARGEST_PIXELS) ** 0.5)
options = {"PNG": {"compress_level": 1}, "TIFF": {"compression": "tiff_deflate"}}.get(kind, {})
small = Image.linear_gradient("L").convert(mode)
if not os.path.exists("picture"):
    small.resize((side, side)).save("picture", kind, **options)
    raise SystemExit
source = open("picture", "rb")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read_photo(source, enough=(256, 256)).size, file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
MOST_MB = 250


@pytest.mark.fault("pictures")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGBA"),
        *(
            pytest.param(kind, mode, marks=pytest.mark.nightly)
            for kind, mode in (("PNG", "RGB"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("TIFF", "RGBA"))
        ),
    ],
)
def test_the_largest_picture_takes_little_memory(tmp_path, kind: str, mode: str) -> None:
    """The largest picture that is allowed takes less than 250 MB, and one is decoded at a time."""
    for _ in ("made", "decoded"):
        done = subprocess.run(
            [sys.executable, "-c", DECODE, kind, mode],
            cwd=tmp_path,
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(done.stdout) < MOST_MB
