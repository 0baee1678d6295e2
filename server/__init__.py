"""The server: one WebSocket in, one WebRTC stream out. See `server.protocol` for the events."""
