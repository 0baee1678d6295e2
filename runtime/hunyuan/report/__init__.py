"""Reports on a released folder: what is wrong with it, and the memory it needs."""
