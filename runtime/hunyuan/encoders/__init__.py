"""Text, image and audio to the conditioning of the released transformer."""
