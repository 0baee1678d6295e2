"""The server: speech in over a WebSocket, video out over WebRTC (docs/protocol.md)."""
