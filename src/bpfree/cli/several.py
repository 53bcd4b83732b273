"""The commands of work that several processes share, and their options. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli import completion
from bpfree.cli.options import DataDir, Json, Storage, grouped

__all__ = ["register"]

Place = Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Run directory whose journal is shared.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(worker)
    app.command()(status)
    app.command("storage-proxy")(storage_proxy)


@grouped
def worker(
    directory: Place = None,
    *,
    storage: Storage = None,
    data_dir: DataDir = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or cuda:N; by default that of the command that planned the work.", autocompletion=completion.devices
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> int:
    """Help with comparisons that bpfree compare --storage has planned: any number of workers, on any number of machines.

    Ends when nothing is left. A worker that is killed loses nothing: another makes its trial or run.

    Example: bpfree worker runs/2026-11-21-digits
    """
    from bpfree.cli.worker import worker_command

    return worker_command(directory, storage=storage, data_dir=data_dir, device=device, quiet=quiet)


@grouped
def status(directory: Place = None, *, storage: Storage = None, as_json: Json = False) -> int:
    """Who makes what of shared work, what is finished, what is left, and when it will be done.

    Example: bpfree status runs/2026-11-21-digits
    """
    from bpfree.cli.status import status_command

    return status_command(directory, storage=storage, as_json=as_json)


@grouped
def storage_proxy(
    storage: Storage = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "localhost",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 13000,
) -> int:
    """Stand between hundreds of workers and a database, which takes some dozens of connections. Ends with Ctrl-C.

    The connection is not encrypted, and asks for no password: listen only where you trust the network.

    Example: bpfree storage-proxy --storage postgresql://me@server/bpfree --host 10.0.0.1
    """
    from bpfree.cli.proxy import proxy_command

    return proxy_command(storage, host=host, port=port)
