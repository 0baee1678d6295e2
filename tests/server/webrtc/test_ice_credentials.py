import pytest

from server.config import IceServer
from server.webrtc.ice_credentials import credentials_for

TURN = IceServer(("turn:t.example",), secret="north", ttl_ms=60_000)


@pytest.mark.fault("relays")
def test_a_session_gets_turn_credentials_of_its_own_that_expire():
    """With a shared secret, each session gets TURN credentials of its own that expire."""
    found = credentials_for(TURN, "sess_1", now_s=1_700_000_000)
    assert found.username == "1700000060:sess_1"
    # printf 1700000060:sess_1 | openssl dgst -sha1 -hmac north -binary | base64
    assert found.credential == "hTRiCJN+zSiiLJ/llsn8iA8HLoM="
    assert credentials_for(TURN, "sess_2", now_s=1_700_000_000) != found


def test_fixed_credentials_stay_as_they_are():
    fixed = IceServer(("turn:t.example",), "u", "c")
    found = credentials_for(fixed, "sess_1")
    assert (found.username, found.credential) == ("u", "c")
