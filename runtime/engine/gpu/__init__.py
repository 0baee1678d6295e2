"""Engines in torch and Triton for NVIDIA GPUs."""
