"""The video transformer (MM-DiT)."""
