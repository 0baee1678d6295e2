"""The trainings: audio encoder, autoencoder, transformer, guidance."""
