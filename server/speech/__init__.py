"""Speech of one speaker: decoding, queueing, and placement on the timeline."""
