"""One stream on several devices: each rank runs some denoising steps."""
