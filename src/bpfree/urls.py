"""Where the work of a comparison is shared: what ``--storage`` may be, and texts without the passwords in it."""

from __future__ import annotations

import re

from bpfree.errors import UsageError
from bpfree.extras import need

__all__ = ["JOURNAL", "PROXY", "check_storage", "masked", "proxy_address"]

JOURNAL = "journal"
"""The journal file of the run directory."""

PROXY = "grpc://"
_DATABASE = ("postgresql://", "postgresql+psycopg://")

_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@'\"]*):[^\s'\"]*@")
_QUERY = re.compile(r"((?:password|sslpassword)=)[^\s&'\"]*", re.IGNORECASE)


def masked(text: str) -> str:
    """The text with ``***`` in place of every password of a URL."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))


def check_storage(url: str) -> None:
    """Refuse what is no place for shared work; nothing is connected to.

    Raises:
        UsageError: another text, a proxy without a port, or a package that is not installed. No password is repeated.
    """
    if url.startswith(_DATABASE):
        _check_port(url)
        need("--storage postgresql://", ("psycopg", "sqlalchemy"), "postgres", f"--storage {JOURNAL}")
    elif url.startswith(PROXY):
        proxy_address(url)
        need("--storage grpc://", ("grpc",), "postgres", f"--storage {JOURNAL}")
    elif url != JOURNAL:
        raise UsageError(
            f"--storage must be {JOURNAL}, postgresql://USER@HOST/DATABASE or {PROXY}HOST:PORT, got {masked(url)!r}; a password "
            "is best left to PGPASSWORD, and the whole URL to the environment variable BPFREE_STORAGE"
        )


def _check_port(url: str) -> None:
    host = url.partition("://")[2].rpartition("@")[2].partition("/")[0]
    _, colon, port = host.rpartition("]")[2].rpartition(":")  # an address of IPv6 has colons in brackets
    if colon and not port.isdigit():
        raise UsageError(f"--storage must have a number after HOST:, got {masked(url)!r}")


def proxy_address(url: str) -> tuple[str, int]:
    """Host and port of a proxy.

    Raises:
        UsageError: the text has another form.
    """
    host, _, port = url.removeprefix(PROXY).rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--storage of a proxy must be {PROXY}HOST:PORT, got {masked(url)!r}")
    return host, int(port)
