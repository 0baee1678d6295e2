import pytest

from server.protocol.binary import pack_binary_append, parse_binary
from server.protocol.client_events import Append
from server.protocol.errors import ProtocolError


def test_a_binary_append_is_its_header_and_pcm():
    message = pack_binary_append(b"abc", 2, 7, commit=True)
    assert message[:12].hex() == "7aa10102" + "07000000" + "01000000"
    assert parse_binary(message) == Append(audio=b"abc", speaker=2, commit=True, seq=7)


@pytest.mark.parametrize(
    "message", [b"", b"short", b"\x00" * 12, pack_binary_append(b"")[:2] + b"\x09" + b"\0" * 9]
)
def test_a_binary_message_without_the_header_is_refused(message):
    with pytest.raises(ProtocolError) as error:
        parse_binary(message)
    assert error.value.code == "bad_binary_header"


def test_an_append_of_fifty_megabytes_is_refused():
    with pytest.raises(ProtocolError) as error:
        parse_binary(pack_binary_append(b"\0" * 50_000_000))
    assert error.value.code == "message_too_large"


@pytest.mark.fault("containers")
@pytest.mark.parametrize("message", [b'{"type": "ping"}', b' \n {"a": 1}', b"[1]", b"{"])
def test_json_in_a_binary_message_is_refused_by_name(message):
    """JSON sent as a binary message is refused as JSON, with the advice to send text."""
    with pytest.raises(ProtocolError, match="is JSON text"):
        parse_binary(message)
