"""Characters over HTTP: list them, show their pictures, add one from a picture, delete one."""

import asyncio
import io
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from runtime.character.character import Character
from runtime.character.folders import character_folders, delete_folder
from runtime.character.store import BUILTIN_CHARACTERS, NewCharacter, add_character, preview
from runtime.errors import NotWritten
from server.api.character_form import character_form
from server.api.guard import client_address
from server.api.turns import Turns
from server.protocol.errors import ErrorCode, ProtocolError
from server.session.registry import SessionRegistry
from server.session.settings import find

logger = logging.getLogger(__name__)

PICTURE_CACHE = {"Cache-Control": "private, max-age=300"}
MOST_UPLOADS = 8  # at once; half of them of one client
KEPT_PREVIEWS = 64  # of about 100 kB
MEDIA_TYPES = {
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}

R = TypeVar("R")


def characters_router() -> APIRouter:
    router, routes = APIRouter(), CharacterRoutes()
    router.get("/v1/characters")(routes.list_characters)
    router.post("/v1/characters", status_code=201)(routes.add)
    router.get("/v1/characters/{name}")(routes.one)
    router.delete("/v1/characters/{name}", status_code=204)(routes.delete)
    router.get("/v1/characters/{name}/picture")(routes.picture)
    router.get("/v1/characters/{name}/preview")(routes.numbered_preview)
    return router


class CharacterRoutes:
    """The routes, and what they remember between requests.

    Pictures are decoded and drawn one at a time on a thread of their own, never on the event loop
    or on the threads that encode video. Files are read on another thread, which never waits for
    them.
    """

    def __init__(self) -> None:
        self._decoder = ThreadPoolExecutor(1, "pictures")
        self._reader = ThreadPoolExecutor(1, "picture-files")
        # An upload arrives before it waits: a request that stands still is closed. What has arrived
        # lies on the disk.
        self._uploads = Turns("uploads", MOST_UPLOADS, of_one=0, of_all=0, each=MOST_UPLOADS // 2)
        self._decoding = Turns("pictures", 1, of_one=MOST_UPLOADS, of_all=MOST_UPLOADS)
        self._listed: tuple[Mapping[str, Character], Response] | None = None
        self._previews: OrderedDict[str, tuple[Character, asyncio.Future[bytes]]] = OrderedDict()

    async def list_characters(self, request: Request) -> Response:
        """Every character with its speakers' boxes and the addresses of its pictures."""
        characters = await _all(request)
        if self._listed is None or self._listed[0] is not characters:
            answer = JSONResponse({"characters": [describe(each) for each in characters.values()]})
            self._listed = (characters, answer)
        body = bytes(self._listed[1].body)
        return Response(body, media_type="application/json")

    async def one(self, request: Request, name: str) -> dict[str, Any]:
        """One character, in the form of the list."""
        return describe(await _find(request, name))

    async def picture(self, request: Request, name: str, emotion: str = "neutral") -> Response:
        """The character's picture, or its reference image for an emotion."""
        character = await _find(request, name)
        files = {"neutral": character.picture.file, **character.emotions}
        if emotion not in files:
            raise ProtocolError(
                ErrorCode.UNKNOWN_EMOTION,
                f"{character.id} has no reference image for {emotion[:64]!r}. "
                f"Use one of {', '.join(files)}.",
                "emotion",
            )
        file = files[emotion]
        try:
            content = await _on(self._reader, file.read_bytes)
        except OSError:  # deleted since it was found
            raise _gone(character.id) from None
        kind = MEDIA_TYPES.get(file.suffix.lower(), "application/octet-stream")
        return Response(content, media_type=kind, headers=PICTURE_CACHE)

    async def numbered_preview(self, request: Request, name: str) -> Response:
        """The picture with its speakers' boxes numbered from the left, as PNG."""
        png = await asyncio.shield(self._preview(await _find(request, name)))
        return Response(png, media_type="image/png", headers=PICTURE_CACHE)

    def _preview(self, character: Character) -> asyncio.Future[bytes]:
        """Drawn once, however many ask."""
        known = self._previews.pop(character.id, None)
        if known is None or known[0] is not character:
            known = (character, _on(self._decoder, _preview_png, character))
        self._previews[character.id] = known
        while len(self._previews) > KEPT_PREVIEWS:
            self._previews.popitem(last=False)
        return known[1]

    async def add(self, request: Request) -> JSONResponse:
        """Add a character from a form: a picture, its face boxes, and pictures of its emotions.

        Fields: `id`, of no other character; `picture`, a file; `boxes`, JSON as
        `[{"x": .., "y": .., "width": .., "height": ..}]` in fractions of the picture, one to eight;
        optional `speakers`, a JSON list of their names in the same order; `name`; `happy`, `sad`,
        `angry` and `surprised`, files. Transparent parts become white.
        """
        registry: SessionRegistry = request.app.state.registry
        own, largest = _own_root(registry), registry.config.limits.max_picture_bytes
        roots = registry.backend.characters.roots
        client = client_address(request.scope)
        try:
            async with (
                self._uploads.turn(client),
                character_form(request, largest) as new,
                self._decoding.turn(client),
            ):
                added = await _on(self._decoder, _add, new, own, roots)
        except NotWritten as error:
            logger.error("%s", error)
            raise
        registry.backend.characters.forget()
        return JSONResponse(describe(added), status_code=201)

    async def delete(self, request: Request, name: str) -> None:
        """Delete an added character; sessions that show it go on."""
        registry: SessionRegistry = request.app.state.registry
        character = await _find(request, name)
        if character.folder.parent == BUILTIN_CHARACTERS:
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                f"{character.id} is a built-in character. Only added characters can be deleted.",
                "character",
            )
        assert character.folder.parent in registry.config.model.characters
        await _on(self._decoder, _delete, character)
        registry.backend.characters.forget()


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


def _on(
    thread: ThreadPoolExecutor, work: Callable[..., R], *arguments: object
) -> asyncio.Future[R]:
    return asyncio.get_running_loop().run_in_executor(thread, work, *arguments)


def _add(new: NewCharacter, own: Path, roots: Sequence[Path]) -> Character:
    others = character_folders(root for root in roots if root != own)
    return add_character(new, own, taken=others)


def _delete(character: Character) -> None:
    character.read_emotions()  # sessions that show it may need them later
    delete_folder(character.folder)


async def _all(request: Request) -> Mapping[str, Character]:
    """All characters by id; their folders are read in a thread."""
    registry: SessionRegistry = request.app.state.registry
    return await registry.backend.characters.current()


async def _find(request: Request, name: str) -> Character:
    return find(await _all(request), name)


def _gone(name: str) -> ProtocolError:
    message = f"The character {name} was deleted. Use an id from GET /v1/characters."
    return ProtocolError(ErrorCode.UNKNOWN_CHARACTER, message, "character")


def _own_root(registry: SessionRegistry) -> Path:
    roots = registry.config.model.characters
    if not roots:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            "This server has no folder for added characters. Start it with --characters FOLDER.",
        )
    return roots[0]


def _preview_png(character: Character) -> bytes:
    buffer = io.BytesIO()
    preview(character).save(buffer, "PNG")
    return buffer.getvalue()
