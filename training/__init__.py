"""Making the built-in model: drawn people, speech, and the training of the small networks."""
