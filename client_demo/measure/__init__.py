"""Measures a server from the outside, as a client sees it."""
