"""The client side of the avatar server: a Python SDK, a command line and the web page."""
