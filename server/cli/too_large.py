"""What a client is told before its socket closes for a message that is too large."""

from websockets.frames import Frame, Opcode

from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.server_events import error_event


def too_large_frame(limit: int, limit_later: int) -> bytes:
    """A frame with the error event of a message that is too large."""
    if limit < limit_later:
        advice = "Wait for session.created, then send speech."
    else:
        advice = "Send speech in smaller pieces, or raise limits.max_message_bytes."
    reason = ProtocolError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"A message has more than {limit} bytes, the most that is allowed now, so the socket is "
        f"closed. {advice}",
    )
    text = error_event(reason, "fatal").to_json().encode()
    return Frame(Opcode.TEXT, text).serialize(mask=False, extensions=[])
