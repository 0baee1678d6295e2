"""The released offline sampling of whole clips."""
