from server.protocol.errors import ERRORS, ErrorCode
from server.protocol.handshake import CLOSE_CODES, CloseCode


def test_every_code_has_a_cause_and_a_remedy():
    assert list(ERRORS) == list(ErrorCode)
    assert all(each.cause.endswith(".") and each.remedy.endswith(".") for each in ERRORS.values())


def test_every_close_code_has_a_cause_and_a_remedy():
    assert list(CLOSE_CODES) == list(CloseCode)
    assert all(each.cause and each.remedy for each in CLOSE_CODES.values())
