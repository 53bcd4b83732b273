"""Commands in processes of their own that need not import torch first: forks of one process that has loaded all modules.

Importing what ``bpfree compare`` needs takes four to five seconds of a processor. Tests that look at what a process leaves behind
(killed, interrupted, beside another one) do not look at its imports; tests of the start itself start ``python -m bpfree``. The
process that is forked has computed nothing, since the threads of torch do not survive a fork, and ends with the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOADED = (
    *("bpfree.cli.compare", "bpfree.cli.train", "bpfree.cli.train_parallel", "bpfree.cli.worker", "bpfree.parallel"),
    *("optuna.samplers", "scipy.stats.qmc", "sklearn.datasets", "sklearn.utils", "torch.distributed", "torch.utils.flop_counter"),
)
"""What commands import when they run, with all that it imports."""

WIDTH = 12
"""Bytes of a number on its way back."""


class Started:
    """A command in another process, as :class:`subprocess.Popen` has it.

    Attributes:
        pid: number of the process; it is no child of this one.
        returncode: None until it was waited for.
    """

    def __init__(self, arguments: Sequence[str], request: Mapping[str, Any]) -> None:
        self.args, self.returncode = list(arguments), None
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed when they are read
        self._status, theirs = os.pipe()
        text = json.dumps({**request, "arguments": self.args}).encode()
        server = _server()
        socket.send_fds(server, [len(text).to_bytes(8, "big")], [self._out.fileno(), self._err.fileno(), theirs])
        server.sendall(text)
        os.close(theirs)
        self.pid = int(os.read(self._status, WIDTH))

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(os.read(self._status, WIDTH))
            os.close(self._status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None and not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to standard output and error, once it has ended."""
        self.wait(timeout)
        texts = []
        for file in (self._out, self._err):
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """To the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    where: Path,
    environment: Mapping[str, str],
    *,
    module: str = "bpfree",
    script: str | None = None,
    file_limit_bytes: int | None = None,
) -> Started:
    """Start ``python -m MODULE`` or ``python -c SCRIPT`` with arguments in a folder."""
    request = {"where": str(where), "environment": dict(environment), "module": module, "script": script}
    return Started(arguments, {**request, "file_limit_bytes": file_limit_bytes})


@functools.cache
def _server() -> socket.socket:
    """The connection to the process that is forked."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.warm", str(theirs.fileno())],
        cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(connection: socket.socket) -> Callable[[], None] | None:
    """Fork for each request; returns what a fork runs, and None at the end of the connection."""
    while True:
        size, files, _, _ = socket.recv_fds(connection, 8, 3)
        if not size:
            with contextlib.suppress(ChildProcessError):
                while os.wait():
                    pass
            return None
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        text = b""
        while len(text) < int.from_bytes(size, "big"):
            text += connection.recv(1 << 16)
        if os.fork() == 0:
            connection.close()
            if (pid := os.fork()) == 0:
                return functools.partial(_run, json.loads(text), files)
            os.write(files[2], f"{pid:{WIDTH}}".encode())
            os.write(files[2], f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):{WIDTH}}".encode())
            os._exit(0)
        for file in files:
            os.close(file)


def _run(request: Mapping[str, Any], files: Sequence[int]) -> None:
    out, err, status = files
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in (out, err, status):
        os.close(file)
    os.chdir(request["where"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["where"]
    if (limit := request["file_limit_bytes"]) is not None:
        sys.dont_write_bytecode = True  # what fits of a compiled module would stay beside the source
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request["script"] is None:
        sys.argv[1:] = request["arguments"]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = ["-c", *request["arguments"]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(request["script"], "<string>", "exec"), main.__dict__)


def _load() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of the tests ends this process by the end of the connection
    for name in LOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        _load()
        chosen = _serve(given)
    if chosen is not None:
        chosen()
