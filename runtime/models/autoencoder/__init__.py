"""Video autoencoders: pictures to latents and back."""
