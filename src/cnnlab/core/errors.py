"""The one exception that a user's own mistake raises, and how a command ends on it."""

import io
import reprlib
import sys
from collections.abc import Callable
from typing import Any, NoReturn

INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended


class UserError(Exception):
    """A mistake that the user can mend, told in one sentence: what is wrong, where, what is allowed."""


def shown(value: object) -> str:
    """A wrong value for an error's sentence: at most 60 characters, however long or nested it is."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = 80
    try:
        text = brief.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


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
    """Run a typer app, telling a UserError in one sentence (exit code 2) and Ctrl-C without a traceback (130).

    What the terminal's encoding cannot show is written as an escape: no stage fails for want of an arrow.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("Error: this needs more memory than there is.", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:  # typer makes an exit of the one, and ends with the other
        code = end.code if isinstance(end, SystemExit) else INTERRUPTED
        if code == INTERRUPTED:
            print("\nStopped. What was finished is kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(code)
    sys.exit(0)
