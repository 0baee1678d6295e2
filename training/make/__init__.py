"""What ships with the server, made anew: characters, samples, the preview."""
