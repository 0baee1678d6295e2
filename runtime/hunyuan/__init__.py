"""The released 13 B model: its weights, encoders, autoencoder, offline schedule and live use."""
