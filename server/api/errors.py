"""Errors over HTTP: the body that every refused request gets, and its status."""

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runtime.errors import AvatarError
from server.protocol.errors import ERRORS, ErrorCode, ProtocolError
from server.protocol.server_events import error_body, to_object
from server.session.settings import as_protocol_error

logger = logging.getLogger(__name__)

UPGRADE_REQUIRED = 426
STATUS_CODES = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.MESSAGE_TOO_LARGE,
}
"""Error codes of the refusals that come from the web framework; all others are invalid fields."""


def error_response(
    reason: ProtocolError, status: int | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """`reason` as `{"error": {...}}`, in the form of the socket's error events."""
    status = status or ERRORS[reason.code].http_status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    sent = dict(headers or {})
    if status == UPGRADE_REQUIRED:
        sent["Upgrade"] = "websocket"  # RFC 9110, section 15.5.22
    if reason.retry_after_s is not None:
        sent["Retry-After"] = str(max(1, math.ceil(reason.retry_after_s)))
    return JSONResponse({"error": to_object(error_body(reason, kind))}, status, sent)


def answer_errors(app: FastAPI) -> None:
    """Let every error of `app` leave in the form of `error_response`."""
    app.add_exception_handler(ProtocolError, _protocol_error)
    app.add_exception_handler(AvatarError, _runtime_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _bug)


async def _protocol_error(request: Request, reason: Exception) -> JSONResponse:
    assert isinstance(reason, ProtocolError)
    return error_response(reason)


async def _runtime_error(request: Request, reason: Exception) -> JSONResponse:
    assert isinstance(reason, AvatarError)
    return error_response(as_protocol_error(reason))


async def _bad_request(request: Request, reason: Exception) -> JSONResponse:
    """A body or a query that the route does not take: the first fault of it."""
    assert isinstance(reason, RequestValidationError)
    fault = reason.errors()[0]
    place = ".".join(str(each) for each in fault["loc"][1:]) or "the body"
    code = ErrorCode.MISSING_FIELD if fault["type"] == "missing" else ErrorCode.INVALID_FIELD
    message = (
        f"The request cannot be read at {place}: {fault['msg']}. docs/protocol.md has the form of "
        "each route."
    )
    return error_response(ProtocolError(code, message, place))


async def _http_exception(request: Request, reason: Exception) -> JSONResponse:
    """A refusal of the web framework: no such path, another method, a body that it cannot read."""
    assert isinstance(reason, HTTPException)
    code = STATUS_CODES.get(reason.status_code, ErrorCode.INVALID_FIELD)
    messages = {
        404: "There is nothing at this path. docs/protocol.md lists the routes.",
        405: f"This path does not take {request.method}. The header Allow names what it takes.",
    }
    message = messages.get(
        reason.status_code, f"The request was refused: {reason.detail}. Correct it, then try again."
    )
    sent = dict(reason.headers or {})
    return error_response(ProtocolError(code, message), reason.status_code, sent)


async def _bug(request: Request, reason: Exception) -> JSONResponse:
    """An error that nothing expected; uvicorn logs it."""
    message = (
        f"Internal error ({type(reason).__name__}). Try again; if it stays, report the server's "
        "log."
    )
    return error_response(ProtocolError(ErrorCode.INTERNAL, message))
