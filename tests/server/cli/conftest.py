"""Fixtures of tests with a real server."""

from tests.support.serving.fixtures import character_root, loopback_only  # noqa: F401
