"""Meters of what a model makes: mouths and audio features."""
