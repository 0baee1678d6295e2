"""The parts of a drawn person and of the room behind, as vector shapes."""
