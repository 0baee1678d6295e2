"""The Python client of Avatar Server."""
