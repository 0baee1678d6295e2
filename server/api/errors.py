"""Errors over HTTP: the body that every refused request gets, and its status."""

from fastapi.responses import JSONResponse

from server.protocol.errors import ERRORS, ProtocolError
from server.protocol.server_events import error_body, to_object


def error_response(reason: ProtocolError) -> JSONResponse:
    """`reason` as `{"error": {...}}`, in the form of the socket's error events."""
    status = ERRORS[reason.code].http_status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return JSONResponse({"error": to_object(error_body(reason, kind))}, status_code=status)
