"""A PostgreSQL server of a test's own, in a temporary directory on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Server", "server", "why_none"]

USER = "postgres"
PASSWORD = "a secret of the tests"


def _binaries() -> Path | None:
    """The newest that are installed."""
    if (found := shutil.which("initdb")) and shutil.which("pg_ctl"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=Path(), key=lambda path: path.parts[-3]).parent or None


def why_none() -> str:
    """Why no server can be started here; empty if one can."""
    binaries = _binaries()
    if binaries is None or not (binaries / "initdb").exists():
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and (shutil.which("runuser") is None or not _has_user()):
        return "PostgreSQL does not run as root, and there is no user postgres or no runuser"
    return ""


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


class Server:
    """A running server; ``url`` has its password, ``open_url`` has none."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.port = folder, port
        self.url = f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
        self.open_url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        binaries = _binaries()
        assert binaries is not None
        command = [str(binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, timeout=120)

    def make(self) -> None:
        """Make the files of the server."""
        (self._folder / "pw").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self._folder, self._folder / "pw"):
                shutil.chown(path, USER)
        self._run("initdb", "-D", f"{self._folder}/data", "-U", USER, "-A", "scram-sha-256", f"--pwfile={self._folder}/pw", "-N")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} -c fsync=off -c shared_buffers=16MB"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """Cut every connection and stop it."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-m", "fast", "stop")


@contextmanager
def server() -> Iterator[Server]:
    """A server, which is stopped and deleted after the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        one = Server(Path(folder), port)
        one.make()
        one.start()
        try:
            yield one
        finally:
            one.stop()
