"""Attacks over HTTP: lists, texts to speak, pictures, faces, keys."""

from __future__ import annotations

import asyncio
import io
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.attack.target import Target

FACES = 1_000
UPLOADS = 12
TEXTS = 40


def request(target: Target, path: str, body: bytes | None = None, kind: str = "") -> int:
    """The answer's status; 0 if there was none."""
    headers = {"Content-Type": kind} if kind else {}
    asked = urllib.request.Request(target.url.rstrip("/") + path, body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


async def _again_and_again(seconds: float, call: Callable[[], int]) -> int:
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        await asyncio.to_thread(call)
        count += 1
    return count


async def lists(target: Target, seconds: float) -> int:
    """The list of characters, asked for by four clients in a loop."""
    ask = lambda: request(target, "/v1/characters")  # noqa: E731
    return sum(await asyncio.gather(*(_again_and_again(seconds, ask) for _ in range(4))))


async def previews(target: Target, seconds: float) -> int:
    """The numbered picture of a character, asked for by four clients in a loop."""
    ask = lambda: request(target, "/v1/characters/mira/preview")  # noqa: E731
    return sum(await asyncio.gather(*(_again_and_again(seconds, ask) for _ in range(4))))


async def texts(target: Target, seconds: float) -> int:
    """Forty long texts to speak at once."""
    body = json.dumps({"text": "长" * 999}).encode()
    ask = lambda: request(target, "/v1/speech", body, "application/json")  # noqa: E731
    answers = [asyncio.to_thread(ask) for _ in range(TEXTS)]
    return len(await asyncio.gather(*answers))


async def keys(target: Target, seconds: float) -> int:
    """Requests that nobody may make: odd hosts, origins and paths."""
    paths = (
        "/v1/%00",
        "/v1/characters/..%2f..%2fetc%2fpasswd/picture",
        "/v1/characters/" + "a" * 5000,
    )
    count = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in paths:
            await asyncio.to_thread(request, target, path)
            count += 1
    return count


async def pictures(target: Target, seconds: float) -> int:
    """Twelve uploads at once, each with a picture of 49 megapixels."""
    content = io.BytesIO()
    Image.fromarray(np.zeros((7000, 7000, 4), np.uint8)).save(content, "PNG", compress_level=1)
    boxes = json.dumps([{"x": 0.3, "y": 0.2, "width": 0.3, "height": 0.3}])
    sent = [_upload(target, content.getvalue(), boxes) for _ in range(UPLOADS)]
    return len(await asyncio.gather(*sent))


async def faces(target: Target, seconds: float) -> int:
    """One upload with a thousand faces, then the list."""
    content = io.BytesIO()
    Image.new("RGB", (512, 512)).save(content, "PNG")
    boxes = [
        {"x": 0.001 * n, "y": 0.001 * n, "width": 0.0009, "height": 0.0009} for n in range(FACES)
    ]
    await _upload(target, content.getvalue(), json.dumps(boxes))
    return await _again_and_again(seconds, lambda: request(target, "/v1/characters"))


async def _upload(target: Target, picture: bytes, boxes: str) -> int:
    mark = uuid.uuid4().hex
    form = {"id": f"attack-{mark[:8]}", "boxes": boxes}
    head = f"--{mark}\r\nContent-Disposition: form-data; name="
    fields = "".join(f'{head}"{each}"\r\n\r\n{value}\r\n' for each, value in form.items())
    file = f'{head}"picture"; filename="p.png"\r\n\r\n'
    body = (fields + file).encode() + picture + f"\r\n--{mark}--\r\n".encode()
    kind = f"multipart/form-data; boundary={mark}"
    return await asyncio.to_thread(request, target, "/v1/characters", body, kind)
