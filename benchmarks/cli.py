"""`avatar bench`: the commands of `python -m benchmarks`."""

import typer

from benchmarks.__main__ import app as benchmarks

app = typer.Typer(add_completion=False)
app.add_typer(benchmarks, name="bench")
