"""Engines in torch for a CPU: the same functions with less memory traffic."""
