"""Media over WebRTC: peer, tracks, and the pacer that sends them."""
