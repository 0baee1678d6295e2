"""The runtime on the command line: `avatar generate`, `official`, `characters`, `weights`."""
