"""The one exception for a user's own mistake, and how a command ends on it."""

import errno
import io
import os
import reprlib
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended
NO_MEMORY = "this needs more memory than there is."
# How torch and onnxruntime report that memory ran out: each by an exception of its own kind.
ALLOCATION_FAILED = ("DefaultCPUAllocator", "not enough memory", "bad allocation", "bad_alloc", "Failed to allocate")


class UserError(Exception):
    """A mistake that the user can correct. Its text is one sentence: what is wrong, where, and what is allowed."""


def shown(value: object) -> str:
    """A wrong value for an error's sentence: at most 60 characters, however long or nested it is."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = 80
    try:
        text = brief.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, whichever library raised it."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in ALLOCATION_FAILED)


def run_command(command: Callable[..., Any], *, allow_flags: bool = False) -> NoReturn:
    """Run a stage's function as a typer command; see `run_app` for how it ends.

    With allow_flags the command takes flags that its signature does not name, through a typer.Context.
    """
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    settings = {"allow_extra_args": allow_flags, "ignore_unknown_options": allow_flags}
    app.command(context_settings=settings)(command)
    run_app(app, stopped="Stopped. What was finished is kept; run the same command again to continue.")


def run_app(app: Callable[[], Any], *, stopped: str = "Stopped.") -> NoReturn:
    """Run a typer app and exit: 2 with one sentence on stderr for what the user can correct, 130 for Ctrl-C.

    A full disk, a closed stream and too little memory are such sentences too. `stopped` is what Ctrl-C prints.
    Characters that the terminal's encoding does not have are escaped, so that printing → never fails on ASCII.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _exit_code(app, stopped)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # who read the output has closed it, as `head` does: no mistake
        code = 1
    except OSError as error:
        code = _fail(_reason(error))
    _drop_unwritten()
    sys.exit(code)


def _exit_code(app: Callable[[], Any], stopped: str) -> Any:
    try:
        app()
    except UserError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns Ctrl-C into an exit, and ends with one
        code = end.code if isinstance(end, SystemExit) else INTERRUPTED
        if code == INTERRUPTED:
            print(f"\n{stopped}", file=sys.stderr)
        return code
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _fail(NO_MEMORY)
    return 0


def _fail(sentence: str) -> int:
    with suppress(OSError):
        print(f"Error: {sentence}", file=sys.stderr)
    return 2


def _reason(error: OSError) -> str:
    """What the system refused, in one sentence."""
    why = error.strerror or str(error)
    if error.filename is not None:
        return f"{str(error.filename)!r}: {why}."
    try:  # the system does not say which file it was
        print(flush=True)
    except OSError:
        return f"standard output cannot be written: {why}."
    if error.errno == errno.ENOSPC:
        return f"{why}: free some on the disk of {tempfile.gettempdir()}, or name another folder in TMPDIR."
    return f"{why}."


def _drop_unwritten() -> None:
    """Discard what standard output refuses, so that Python does not try again at the end and fail."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
