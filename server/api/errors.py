"""Errors over HTTP: the body that every refused request gets, and its status."""

from fastapi.responses import JSONResponse

from server.protocol.fields import ErrorCode, ProtocolError
from server.protocol.server_events import error_event

HTTP_STATUS = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNKNOWN_CHARACTER: 404,
    ErrorCode.SESSION_NOT_FOUND: 404,
    ErrorCode.MESSAGE_TOO_LARGE: 413,
    ErrorCode.SERVER_FULL: 503,
}


def error_response(reason: ProtocolError) -> JSONResponse:
    """`reason` as `{"error": {...}}`, as the socket's error events have it."""
    body = {"error": error_event(reason).error}
    return JSONResponse(body, status_code=HTTP_STATUS.get(reason.code, 400))
