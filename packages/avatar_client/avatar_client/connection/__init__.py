"""How a server is reached: addresses, keys, proxies, TLS."""
