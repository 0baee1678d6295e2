"""Reports on a released folder: its faults, and the memory that it needs."""
