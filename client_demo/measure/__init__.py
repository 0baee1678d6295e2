"""Measuring a server as a client sees it."""
