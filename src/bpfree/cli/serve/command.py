"""The command: opens the port and serves until Ctrl-C."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import typer

from bpfree.cli.serve.server import RunServer
from bpfree.errors import RunDirectoryError, UsageError

__all__ = ["serve_command"]


def serve_command(directory: Path, *, port: int, open_: bool) -> int:
    """Serve until Ctrl-C.

    Raises:
        RunDirectoryError: the folder is not there.
        UsageError: the port cannot be used.
    """
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory} is not a directory; runs are made by: bpfree compare --out {directory}/NAME")
    if not 0 <= port < 2**16:
        raise UsageError(f"--port must be from 0 to 65535, got {port}; 0 takes any that is free")
    try:
        server = RunServer(directory, port)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used ({error.strerror}); give another, or --port 0 for any that is free"
        ) from error
    with server:
        typer.echo(f"{server.address} shows the runs in {directory}, to this machine alone; Ctrl-C ends it")
        if open_:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("")
    return 0
