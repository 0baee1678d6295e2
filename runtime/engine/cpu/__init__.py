"""Engines in torch for a CPU: the model's functions with fewer passes over memory."""
