"""Writes the documents and the client module that are generated from the code."""
