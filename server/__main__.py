"""`python -m server` is `avatar serve`."""

import sys

from server.cli.avatar import main

main(["serve", *sys.argv[1:]])
