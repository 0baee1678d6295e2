"""Sound files in, video files out."""
