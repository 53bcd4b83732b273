"""``bpfree storage-proxy``."""

from __future__ import annotations

import threading

import typer

from bpfree.bench.proxy import serving
from bpfree.errors import UsageError
from bpfree.urls import JOURNAL, PROXY, masked

__all__ = ["proxy_command"]


def proxy_command(storage: str | None, *, host: str, port: int) -> int:
    """Serve until Ctrl-C."""
    if storage is None or storage == JOURNAL or storage.startswith(PROXY):
        raise UsageError("a proxy stands in front of a database; give --storage postgresql://USER@HOST/DATABASE")
    try:
        with serving(storage, host, port):
            typer.echo(f"{masked(storage)} is served at {PROXY}{host}:{port}; end with Ctrl-C")
            threading.Event().wait()
    except OSError as error:
        raise UsageError(f"{error}; choose another --port") from error
    except KeyboardInterrupt:
        typer.echo("ended")
    return 0
