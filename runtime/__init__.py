"""The model and the stream: push audio, get frames. No sockets, no environment, no threads."""
