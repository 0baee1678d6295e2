"""From a session's speech to frames: ticks, and the thread that runs the model."""
