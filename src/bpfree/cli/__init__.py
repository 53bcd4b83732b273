"""The command line. A user's mistake is one clear line and exit code 2; Ctrl-C is 130, with the command that resumes.

What the world does (memory that runs out, a lost device) is one line and exit code 1.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from bpfree.errors import BpfreeError, RunInterruptedError
from bpfree.files import unopened

__all__ = ["main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``bpfree``.

    Exits 0 on success, 1 on a failed or interrupted run, 2 on the user's mistake, 128 + the number of a signal (130 on Ctrl-C).
    """
    from bpfree.cli.streams import keep_streams, what_was_lost

    keep_streams()
    code = run(arguments)
    if lost := what_was_lost():
        _fail(lost.message, code)
        code = code or lost.code
    sys.stdout.flush()
    sys.stderr.flush()
    if code > 128:
        os._exit(code)  # everything is on disk, and unloading torch takes a while
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """The same, returning the exit code."""
    from bpfree.cli.app import app, command_line_errors

    try:
        result: Any = app(args=arguments, prog_name="bpfree", standalone_mode=False)
        if result == INTERRUPTED:  # some versions of typer turn Ctrl-C into this code
            raise KeyboardInterrupt
    except command_line_errors() as error:  # an unknown option or a wrong value
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else "bpfree"
        message = getattr(error, "format_message", error.__str__)()
        return _fail(f"{message.rstrip('.')}; see {asked} --help", 2)
    except RunInterruptedError as error:
        return _fail_resumable(str(error), 1)
    except BpfreeError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail_resumable("interrupted", _code_of_signal())
    except BrokenPipeError:  # the reader of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a library met a full or read-only disk, or a file that may not be read
        refused = unopened(error)
        if refused is None:
            raise
        return _fail(str(refused), 2)
    except (RuntimeError, MemoryError) as error:  # outside a run: while data are loaded, or a report is built
        from bpfree.bench.causes import interruption

        if (of_the_world := interruption(error)) is None:
            raise
        return _fail_resumable(str(of_the_world), 1)
    return result if isinstance(result, int) else 0


def _code_of_signal() -> int:
    """Of the signal that came. Nothing is imported: a Ctrl-C within the import of torch makes a second import fail."""
    watching = sys.modules.get("bpfree.cli.interrupt")
    return INTERRUPTED if watching is None else watching.exit_code()


def _fail_resumable(what: str, code: int) -> int:
    from bpfree.cli.resume import hint

    return _fail(hint(what), code)


def _fail(message: str, code: int) -> int:
    one_line = " ".join(str(message).split())
    print(f"bpfree: {one_line}", file=sys.stderr, flush=True)  # noqa: T201 - the only line of output
    return code
