"""Linear layers and matrix products in 8-bit floats."""
