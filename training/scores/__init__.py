"""Scores of generated mouths and of audio features."""
