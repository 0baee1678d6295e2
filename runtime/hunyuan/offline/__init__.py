"""The released offline loop: `avatar official`."""
