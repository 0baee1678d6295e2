"""The events of one session's WebSocket (subprotocol `avatar.v1`), both directions.

A client event is a JSON text message or a binary append; `parse_text` and `parse_binary` turn it
into one frozen dataclass or raise `ProtocolError`. A server event is a frozen dataclass whose
`to_json` is the text message. Names follow the OpenAI Realtime API where it has one, and a voice
model's own events may be forwarded unchanged. docs/protocol.md is generated from these modules.

To add an event: write its dataclass with an `Info` for each field in client_events or
server_events, list it in CLIENT_EVENTS or SERVER_EVENTS, and run `python -m server.reference`.
"""
