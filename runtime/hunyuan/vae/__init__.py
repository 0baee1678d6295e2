"""The released causal video autoencoder."""
