"""Characters over HTTP: list them, show their pictures, add one from a picture, delete one."""

import asyncio
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import FileResponse, Response

from runtime.character.character import Character, box_from
from runtime.character.store import BUILTIN_CHARACTERS, NewCharacter, add_character, preview
from runtime.values import EMOTIONS
from server.protocol.errors import ErrorCode, ProtocolError
from server.session.registry import SessionRegistry
from server.session.settings import find

PICTURE_CACHE = {"Cache-Control": "private, max-age=300"}


def characters_router() -> APIRouter:
    router = APIRouter()
    router.get("/v1/characters")(list_characters)
    router.post("/v1/characters", status_code=201)(add)
    router.get("/v1/characters/{name}")(one)
    router.delete("/v1/characters/{name}", status_code=204)(delete)
    router.get("/v1/characters/{name}/picture")(picture)
    router.get("/v1/characters/{name}/preview")(numbered_preview)
    return router


async def list_characters(request: Request) -> dict[str, Any]:
    """Every character with its speakers' boxes and the addresses of its pictures."""
    return {"characters": [describe(each) for each in (await _all(request)).values()]}


async def one(request: Request, name: str) -> dict[str, Any]:
    """One character, in the form of the list."""
    return describe(await _find(request, name))


def describe(character: Character) -> dict[str, Any]:
    """The character as JSON."""
    address = f"/v1/characters/{character.id}/picture"
    emotions = {name: f"{address}?emotion={name}" for name in character.emotions}
    return {
        **character.summary(),
        "emotions": {"neutral": address, **emotions},
        "picture_url": address,
        "preview_url": f"/v1/characters/{character.id}/preview",
    }


async def picture(request: Request, name: str, emotion: str = "neutral") -> FileResponse:
    """The character's picture, or its reference image for an emotion."""
    character = await _find(request, name)
    files = {"neutral": character.picture.file, **character.emotions}
    if emotion not in files:
        raise ProtocolError(
            ErrorCode.UNKNOWN_EMOTION,
            f"{name} has no reference image for {emotion[:64]!r}. Use one of {', '.join(files)}.",
            "emotion",
        )
    return FileResponse(files[emotion], headers=PICTURE_CACHE)


async def numbered_preview(request: Request, name: str) -> Response:
    """The picture with its speakers' boxes numbered from the left, as PNG."""
    png = await asyncio.to_thread(_preview_png, await _find(request, name))
    return Response(png, media_type="image/png", headers=PICTURE_CACHE)


async def add(
    request: Request,
    id: Annotated[str, Form()],
    picture: Annotated[UploadFile, File()],
    boxes: Annotated[str, Form()],
    speakers: Annotated[str, Form()] = "[]",
    name: Annotated[str, Form()] = "",
    happy: Annotated[UploadFile | None, File()] = None,
    sad: Annotated[UploadFile | None, File()] = None,
    angry: Annotated[UploadFile | None, File()] = None,
    surprised: Annotated[UploadFile | None, File()] = None,
) -> dict[str, Any]:
    """Add a character from a form: a picture, its face boxes, and pictures of its emotions.

    Fields: `id`; `picture`, a file; `boxes`, JSON as
    `[{"x": .., "y": .., "width": .., "height": ..}]` in fractions of the picture; optional
    `speakers`, a JSON list of their names in the same order; `name`; `happy`, `sad`, `angry` and
    `surprised`, files.
    """
    registry: SessionRegistry = request.app.state.registry
    limit = registry.config.limits.max_picture_bytes
    uploads = dict(zip(EMOTIONS[1:], (happy, sad, angry, surprised), strict=True))
    pictures = {
        each: await _read(file, limit) for each, file in uploads.items() if file is not None
    }
    new = NewCharacter(
        id=id,
        picture=await _read(picture, limit),
        boxes=[box_from(each, f"Box {n}") for n, each in enumerate(_json_list(boxes, "boxes"), 1)],
        speakers=[str(each) for each in _json_list(speakers, "speakers")],
        emotions=pictures,
        name=name[:200],
    )
    return describe(await asyncio.to_thread(add_character, new, _own_root(registry)))


async def delete(request: Request, name: str) -> None:
    """Delete an added character; sessions that show it go on."""
    registry: SessionRegistry = request.app.state.registry
    character = await _find(request, name)
    if character.folder.parent == BUILTIN_CHARACTERS:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            f"{name} is a built-in character. Only added characters can be deleted.",
            "character",
        )
    assert character.folder.parent in registry.config.model.characters
    await asyncio.to_thread(shutil.rmtree, character.folder)


async def _all(request: Request) -> Mapping[str, Character]:
    """All characters by id; their folders are read in a thread."""
    registry: SessionRegistry = request.app.state.registry
    return await registry.backend.characters.current()


async def _find(request: Request, name: str) -> Character:
    return find(await _all(request), name)


def _own_root(registry: SessionRegistry) -> Path:
    roots = registry.config.model.characters
    if not roots:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            "This server has no folder for added characters. Start it with --characters FOLDER.",
        )
    return roots[0]


async def _read(upload: UploadFile, limit: int) -> bytes:
    content = await upload.read(limit + 1)
    if len(content) > limit:
        raise ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The picture has more than {limit} bytes, which is the limit. Scale it down.",
            "picture",
        )
    return content


def _json_list(text: str, name: str) -> list[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"{name} is {text[:60]!r}, but must be a JSON list. Correct the field.",
            name,
        )
    return values


def _preview_png(character: Character) -> bytes:
    buffer = io.BytesIO()
    preview(character).save(buffer, "PNG")
    return buffer.getvalue()
