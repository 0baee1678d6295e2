"""`avatar talk`, `make demo` and the web page: clients of the avatar server."""
