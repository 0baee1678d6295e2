"""`avatar export`, run in this process."""

from typer.testing import CliRunner

from export.cli import app

ENVIRONMENT = {"COLUMNS": "200", "XDG_DATA_HOME": "/nonexistent"}  # none of the user's characters


def avatar_export(*arguments: object) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    result = CliRunner().invoke(app, ["export", *map(str, arguments)], env=ENVIRONMENT)
    return result.exit_code, result.output
