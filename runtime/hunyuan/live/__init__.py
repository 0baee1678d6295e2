"""The released transformer as a live stream."""
