"""Characters over HTTP: list, look at, add from a picture, delete."""

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import FileResponse, Response

from runtime.character.character import Character, box_from
from runtime.character.store import BUILTIN_CHARACTERS, NewCharacter, add_character, preview
from runtime.values import EMOTIONS
from server.protocol.fields import ErrorCode, ProtocolError
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
    hub: SessionRegistry = request.app.state.hub
    return {
        "characters": [describe(each) for each in (await hub.backend.characters.current()).values()]
    }


async def one(request: Request, name: str) -> dict[str, Any]:
    """One character, as the list has it."""
    return describe(await _find(request, name))


def describe(character: Character) -> dict[str, Any]:
    address = f"/v1/characters/{character.id}/picture"
    moods = {name: f"{address}?emotion={name}" for name in character.emotions}
    return {
        **character.summary(),
        "emotions": {"neutral": address, **moods},
        "picture_url": address,
        "preview_url": f"/v1/characters/{character.id}/preview",
    }


async def picture(request: Request, name: str, emotion: str = "neutral") -> FileResponse:
    """The character's picture, or its reference for an emotion."""
    character = await _find(request, name)
    files = {"neutral": character.picture.file, **character.emotions}
    if emotion not in files:
        raise ProtocolError(
            ErrorCode.UNKNOWN_EMOTION,
            f"found the emotion {emotion[:64]!r}, expected one of {', '.join(files)}; "
            "use one of these",
            "emotion",
        )
    return FileResponse(files[emotion], headers=PICTURE_CACHE)


async def numbered_preview(request: Request, name: str) -> Response:
    """The picture with its speakers' boxes numbered from the left."""
    image = await asyncio.to_thread(preview, await _find(request, name))
    return Response(_as_png(image), media_type="image/png", headers=PICTURE_CACHE)


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
    """Add a character: a picture, its face boxes as JSON, and pictures of its moods.

    `boxes` is `[{"x": .., "y": .., "width": .., "height": ..}]`, fractions of the picture;
    `speakers` names them in the same order.
    """
    hub: SessionRegistry = request.app.state.hub
    limit = hub.config.limits.max_picture_bytes
    uploads = dict(zip(EMOTIONS[1:], (happy, sad, angry, surprised), strict=True))
    moods = {each: await _read(file, limit) for each, file in uploads.items() if file is not None}
    new = NewCharacter(
        id=id,
        picture=await _read(picture, limit),
        boxes=[box_from(each, f"Box {n}") for n, each in enumerate(_json_list(boxes, "boxes"), 1)],
        speakers=[str(each) for each in _json_list(speakers, "speakers")],
        emotions=moods,
        name=name[:200],
    )
    return describe(await asyncio.to_thread(add_character, new, _own_root(hub)))


async def delete(request: Request, name: str) -> None:
    """Delete an added character; sessions that show it play on."""
    hub: SessionRegistry = request.app.state.hub
    character = await _find(request, name)
    if character.folder.parent == BUILTIN_CHARACTERS:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            f"found the built-in character {name!r}, expected an added one; built-in ones stay",
            "character",
        )
    assert character.folder.parent in hub.config.model.characters
    await asyncio.to_thread(shutil.rmtree, character.folder)


async def _find(request: Request, name: str) -> Character:
    hub: SessionRegistry = request.app.state.hub
    return find(await hub.backend.characters.current(), name)


def _own_root(hub: SessionRegistry) -> Path:
    roots = hub.config.model.characters
    if not roots:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            "found no folder for added characters, expected one in model.characters; start the "
            "server with --characters FOLDER",
        )
    return roots[0]


async def _read(upload: UploadFile, limit: int) -> bytes:
    content = await upload.read(limit + 1)
    if len(content) > limit:
        raise ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"found a picture of more than {limit} bytes, expected a smaller one; scale it down",
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
            f"found {name} = {text[:60]!r}, expected a JSON list; correct the field",
            name,
        )
    return values


def _as_png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
