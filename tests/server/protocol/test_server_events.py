import dataclasses
import json

import pytest
from avatar_client.events import parse_server_event

from server.field_info import declared_fields
from server.protocol.client_events import parse_text
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.server_events import (
    SERVER_EVENTS,
    BufferHigh,
    IceServerInfo,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    Pong,
    SessionQueued,
    error_event,
    to_object,
)


def refused(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as error:
        parse_text(text)
    return error.value


def test_an_error_names_the_event_that_caused_it():
    error = refused('{"type": "input_audio_buffer.append", "event_id": "e9"}')
    sent = json.loads(error_event(error).to_json())
    assert sent["error"]["event_id"] == "e9"
    assert sent["error"]["type"] == "invalid_request_error"


def test_an_error_about_an_event_whose_id_is_no_unicode_can_be_sent():
    error = refused('{"type": "coffee", "event_id": "\\ud800"}')
    sent = error_event(error).to_json().encode()
    assert json.loads(sent)["error"]["event_id"] == "\ud800"


@pytest.mark.parametrize(
    "event",
    [
        OutputStarted(item_id="i", speaker="a", media_time_ms=40),
        OutputStopped(item_id="i", speaker="a", audio_end_ms=900),
        OutputCleared(item_id="i", speaker="a", audio_end_ms=90),
        SessionQueued(position=2),
        BufferHigh(speaker="a", queued_ms=48_000),
        Pong(event_id="x"),
    ],
)
def test_a_server_event_survives_the_wire(event):
    read = parse_server_event(event.to_json())
    assert read.type == event.type
    assert dataclasses.asdict(read) == dataclasses.asdict(event)


def test_a_client_keeps_reading_events_with_fields_that_it_does_not_know():
    text = '{"type": "pong", "event_id": "x", "moon_phase": 3}'
    assert parse_server_event(text).event_id == "x"


def test_fields_that_are_none_are_left_out_nested_ones_too():
    assert to_object(IceServerInfo(("stun:s.example",))) == {"urls": ["stun:s.example"]}
    error = error_event(ProtocolError(ErrorCode.NO_OFFER, "No offer."))
    assert set(json.loads(error.to_json())["error"]) == {"type", "code", "message"}


@pytest.mark.parametrize("kind", SERVER_EVENTS.values())
def test_every_field_of_an_event_goes_onto_the_wire(kind):
    declared = {each.attribute for each in declared_fields(kind)}
    assert declared == {each.name for each in dataclasses.fields(kind)}
