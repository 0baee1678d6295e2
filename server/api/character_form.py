"""The form of `POST /v1/characters`: read within bounds, checked before a picture is opened."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect

from runtime.character.character import box_from, check_id, shortened
from runtime.character.face_mask import MOST_FACES
from runtime.character.store import NewCharacter
from runtime.values import EMOTIONS
from server.protocol.errors import ErrorCode, ProtocolError

TEXTS = ("id", "boxes", "speakers", "name")
FILES = ("picture", *EMOTIONS[1:])
LARGEST_TEXT = 128_000  # bytes of one text field
ARRIVES_WITHIN_S = 60.0


@asynccontextmanager
async def character_form(request: Request, largest_picture: int) -> AsyncIterator[NewCharacter]:
    """The character that a request asks to add; its files are open during the block.

    Raises ProtocolError if the form is wrong, has more than it may, or does not arrive in time.
    Files lie on the disk if they are large.
    """
    form = await _form(request)
    try:
        yield _new_character(form, largest_picture)
    finally:
        await form.close()


async def _form(request: Request) -> FormData:
    try:
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            return await request.form(
                max_files=len(FILES), max_fields=len(TEXTS), max_part_size=LARGEST_TEXT
            )
    except TimeoutError:
        raise ProtocolError(
            ErrorCode.REQUEST_TIMEOUT,
            f"The upload did not arrive within {ARRIVES_WITHIN_S:.0f} s. Send a smaller picture, "
            "or use a faster connection.",
        ) from None
    except OSError as error:  # large files go to the disk while they arrive
        raise ProtocolError(
            ErrorCode.STORAGE_FAILED,
            f"The server cannot store the upload: {error.strerror}. Tell its operator.",
        ) from error
    except ClientDisconnect:
        raise _no_form("it ended early") from None
    except (ValueError, LookupError) as error:  # what the parser raises of a malformed form
        raise _no_form(str(error)[:100]) from error


def _no_form(fault: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_FIELD,
        f"The body is no form that can be read: {fault}. Send multipart/form-data.",
    )


def _new_character(form: FormData, largest_picture: int) -> NewCharacter:
    unknown = sorted(set(form) - {*TEXTS, *FILES})
    if unknown:
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"The form has a field {shortened(unknown[0])}. Its fields are "
            f"{', '.join((*TEXTS, *FILES))}.",
        )
    identity = check_id(_text(form, "id"))
    boxes = _json_list(_text(form, "boxes"), "boxes")
    speakers = _json_list(_text(form, "speakers", "[]"), "speakers")
    files = {name: _file(form, name, largest_picture) for name in FILES}
    picture = files.pop("picture")
    if picture is None:
        raise _missing("picture")
    return NewCharacter(
        id=identity,
        picture=picture.file,
        boxes=[box_from(each, f"Box {number}") for number, each in enumerate(boxes, 1)],
        speakers=[check_id(each, "speakers") for each in speakers],
        emotions={name: file.file for name, file in files.items() if file is not None},
        name=_text(form, "name", ""),
    )


def _text(form: FormData, name: str, default: str | None = None) -> str:
    value = form.get(name, default)
    if value is None:
        raise _missing(name)
    if not isinstance(value, str):
        raise ProtocolError(ErrorCode.INVALID_FIELD, f"{name} is a file. Send it as text.", name)
    return value


def _file(form: FormData, name: str, largest: int) -> UploadFile | None:
    """The file of that name; browsers send an empty one for an input that was left empty."""
    value = form.get(name)
    if isinstance(value, str) and value:
        message = f"{name} is text. Send the picture as a file, with a file name."
        raise ProtocolError(ErrorCode.INVALID_FIELD, message, name)
    if not isinstance(value, UploadFile) or not (value.size or value.filename):
        return None
    if (value.size or 0) > largest:
        raise ProtocolError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The picture has more than {largest} bytes, which is the limit. Scale it down.",
            name,
        )
    return value


def _json_list(text: str, name: str) -> list[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"{name} is {shortened(text)}, but must be a JSON list. Correct the field.",
            name,
        )
    if len(values) > MOST_FACES:
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"{name} has {len(values)} entries; a character has at most {MOST_FACES} faces. Leave "
            "some out.",
            name,
        )
    return values


def _missing(name: str) -> ProtocolError:
    return ProtocolError(ErrorCode.MISSING_FIELD, f"The form has no field {name}. Add it.", name)
