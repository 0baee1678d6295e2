"""Sound to the features that a video frame is conditioned on."""
