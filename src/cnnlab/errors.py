"""The one exception that a user's own mistake raises, and how a command ends on it."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn


class UserError(Exception):
    """A mistake that the user can mend, told in one sentence: what is wrong, where, what is allowed."""


def run_command(command: Callable[..., Any], *, allow_flags: bool = False) -> NoReturn:
    """Run a function as a typer command: a UserError is one sentence on stderr and exit code 2, Ctrl-C is 130.

    With allow_flags the command takes flags that its signature does not name, through a typer.Context.
    """
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    settings = {"allow_extra_args": allow_flags, "ignore_unknown_options": allow_flags}
    app.command(context_settings=settings)(command)
    run_app(app)


def run_app(app: Callable[[], Any]) -> NoReturn:
    """Run a typer app, telling a UserError in one sentence (exit code 2) and Ctrl-C without a traceback (130)."""
    try:
        app()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
