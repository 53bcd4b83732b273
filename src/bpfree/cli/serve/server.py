"""The server: 127.0.0.1 alone, GET and HEAD alone."""

from __future__ import annotations

import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bpfree.cli.serve.listing import page
from bpfree.cli.serve.requests import TYPES, RefusedRequestError, check_host, file_of

__all__ = ["ADDRESS", "RunServer"]

ADDRESS = "127.0.0.1"

_PAGE = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_POLICIES = {".html": f"{_PAGE}; frame-ancestors 'none'"}
_NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""What a browser may do with a file; a report narrows it further by itself."""


class RunServer(ThreadingHTTPServer):
    """Serves one folder."""

    daemon_threads = True

    def __init__(self, root: Path, port: int) -> None:
        """Open the port.

        Args:
            root: folder.
            port: 0 for any that is free.

        Raises:
            OSError: the port is in use, or may not be used.
        """
        self.root = root.resolve()
        super().__init__((ADDRESS, port), _Handler)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; anything else is printed as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version = "bpfree"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        assert isinstance(server, RunServer)
        try:
            check_host(self.headers.get_all("Host"), server.server_port)
            if self.path.partition("?")[0] in ("/", "/index.html"):
                status, suffix, content = HTTPStatus.OK, ".html", page(server.root).encode("utf-8", "replace")
            else:
                path = file_of(server.root, self.path)
                status, suffix, content = HTTPStatus.OK, path.suffix, path.read_bytes()
        except RefusedRequestError as error:
            status, suffix, content = error.status, ".txt", f"{error}\n".encode()
        except OSError as error:
            status, suffix, content = HTTPStatus.NOT_FOUND, ".txt", f"cannot be read: {error.strerror}\n".encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", TYPES[suffix]),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", _POLICIES.get(suffix, _NO_SCRIPT)),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
