"""Training data: drawn pictures and clips, and their latents."""
