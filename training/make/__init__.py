"""Commands that make shipped files again: characters, samples, the preview."""
