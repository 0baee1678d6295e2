"""Attacks on a running server, each with a healthy session beside it."""
