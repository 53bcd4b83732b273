"""What answers in the processes of ``test_early_processes``: light, so that they start quickly."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection


def answer(connection: Connection) -> None:
    """Send the number of this process, then back what comes."""
    connection.send(os.getpid())
    try:
        while True:
            connection.send(connection.recv())
    except (EOFError, ConnectionResetError):
        return
