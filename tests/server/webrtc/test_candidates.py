"""Which of a client's candidates are used."""

import pytest

from server.addresses import AddressRules, parse_address
from server.webrtc.candidates import (
    MAX_CANDIDATES,
    MAX_PER_ADDRESS,
    SDP_ERRORS,
    Candidate,
    CandidateBudget,
)


def used(client: str, lines: list[str], mid: str | None = "0") -> list[str]:
    budget = CandidateBudget(AddressRules(parse_address(client)), {"0": "0", 0: "0"})
    return [line for line in lines if budget.take(Candidate(line, mid, None)) is not None]


def line(address: str, port: int = 9_000, kind: str = "udp") -> str:
    return f"1 1 {kind} 2130706431 {address} {port} typ host"


@pytest.mark.fault("offers")
def test_two_hundred_candidates_of_one_address_are_a_few():
    """An offer with hundreds of candidates makes the server send a few packets, not thousands."""
    lines = [line("9.9.9.9", 2_000 + n) for n in range(200)]
    assert len(used("8.8.8.8", lines)) == MAX_PER_ADDRESS
    assert len(used("8.8.8.8", [line(f"9.9.{n}.9") for n in range(200)])) == MAX_CANDIDATES


@pytest.mark.fault("offers")
def test_a_client_of_the_internet_names_no_private_candidate():
    """Candidates of private, loopback and metadata addresses are only for clients from there."""
    lines = [line(each) for each in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "x.local")]
    assert used("8.8.8.8", lines) == []
    assert used("192.168.1.7", lines) == [lines[0], lines[3]]
    assert used("127.0.0.1", lines) == [lines[0], lines[1], lines[3]]


@pytest.mark.fault("offers")
@pytest.mark.parametrize("port", [0, 19, 53, 161, 445])
def test_ports_of_other_services_are_left_out(port):
    """The server sends no checks to ports of name servers and other services."""
    assert used("8.8.8.8", [line("9.9.9.9", port)]) == []
    assert len(used("8.8.8.8", [line("9.9.9.9", each) for each in (80, 443, 1024)])) == 3


@pytest.mark.fault("offers")
@pytest.mark.parametrize("name", ["example.com", "localhost", "metadata.internal"])
def test_names_other_than_local_ones_are_not_looked_up(name):
    """Only names of the local network may stand in a candidate."""
    assert used("127.0.0.1", [line(name)]) == []


def test_candidates_over_tcp_and_of_bundled_sections_are_left_out():
    assert used("8.8.8.8", [line("9.9.9.9", kind="tcp") + " tcptype active"]) == []
    assert used("8.8.8.8", [line("9.9.9.9")], mid="1") == []


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e f typ host"])
def test_a_line_that_cannot_be_read_raises(text):
    with pytest.raises(SDP_ERRORS):
        used("8.8.8.8", [text])


def test_a_candidate_that_names_no_section_raises():
    with pytest.raises(SDP_ERRORS, match="names no section"):
        used("8.8.8.8", [line("9.9.9.9")], mid=None)
