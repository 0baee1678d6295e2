import logging

import pytest

from server.cli.unfinished_requests import UnfinishedRequests


class Line:
    """A connection that is only counted."""

    def __init__(self, requests: UnfinishedRequests) -> None:
        self._requests = requests
        self.is_open = True

    def drop(self) -> None:
        self.is_open = False
        self._requests.remove(self)


@pytest.mark.fault("sockets")
def test_of_too_many_unfinished_requests_the_oldest_go():
    """Half-sent requests, in any number, leave room for the next whole one."""
    requests = UnfinishedRequests(200, 200)
    lines = [Line(requests) for _ in range(800)]
    for number, line in enumerate(lines):
        requests.add(line, f"192.0.2.{number % 250}", 0.0)
    assert len(requests) == 200
    assert [line.is_open for line in lines] == [False] * 600 + [True] * 200


@pytest.mark.fault("sockets")
def test_one_address_pushes_out_only_its_own():
    """A client that opens many connections closes its own oldest ones, not those of others."""
    requests = UnfinishedRequests(200, 100)
    honest, flood = Line(requests), [Line(requests) for _ in range(500)]
    requests.add(honest, "192.0.2.1", 0.0)
    for number, line in enumerate(flood):
        requests.add(line, f"2001:db8::{number:x}", 0.0)
    assert honest.is_open
    assert len(requests) == 101


def test_the_log_says_so_once_a_minute(caplog):
    requests = UnfinishedRequests(1, 1)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            requests.add(Line(requests), "192.0.2.1", float(number))
        requests.add(Line(requests), "192.0.2.1", 100.0)
    assert [record.message.split(" were")[0] for record in caplog.records] == [
        "1 connections without a whole request",
        "9 connections without a whole request",
    ]
