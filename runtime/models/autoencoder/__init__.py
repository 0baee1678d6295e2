"""Video autoencoders: frames to latents and back."""
