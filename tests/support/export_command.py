"""`avatar export`, run in this process."""

from typer.testing import CliRunner

from export.cli import app


def avatar_export(*arguments: object) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    result = CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output
