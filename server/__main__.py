"""`python -m server` is `avatar serve`."""

import sys

from server.cli.avatar import main

sys.argv[1:1] = ["serve"]
main()
