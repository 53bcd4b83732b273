"""Which file a request is for, or why it is refused: only files of known kinds inside the folder, only for this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

__all__ = ["TYPES", "RefusedRequestError", "check_host", "file_of"]

_TEXT = "text/plain; charset=utf-8"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    **dict.fromkeys((".bib", ".csv", ".journal", ".json", ".jsonl", ".md", ".tex", ".txt", ".yaml"), _TEXT),
}
"""What is served, by the end of a file's name: reports, and the texts of run directories."""


class RefusedRequestError(Exception):
    """A request that is not answered with a file."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_host(given: Sequence[str] | None, port: int) -> None:
    """Refuse a request for another host's name: a page of that host may have led the browser here.

    Args:
        given: all ``Host`` headers of the request.
        port: that is served.

    Raises:
        RefusedRequestError: there is not exactly one, or it does not name this machine.
    """
    allowed = {f"127.0.0.1:{port}", f"localhost:{port}"} | ({"127.0.0.1", "localhost"} if port == 80 else set())
    if not given or len(given) != 1 or given[0].strip().lower() not in allowed:
        raise RefusedRequestError(HTTPStatus.MISDIRECTED_REQUEST, f"open http://127.0.0.1:{port}/ on this machine")


def file_of(root: Path, target: str) -> Path:
    """The file that the target of a request names.

    Args:
        root: folder that is served, resolved.
        target: as it stands in the request: ``/a%20b/report/index.html?query``.

    Raises:
        RefusedRequestError: ``..`` or a hidden name in it, no file of a known kind, or one that lies elsewhere by a link.
    """
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    text = unquote(path, errors="surrogateescape")
    if not text.startswith("/") or "\0" in text or "\\" in text:
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "the address is no path")
    parts = text.split("/")[1:]
    if any(part.startswith(".") for part in parts):
        raise RefusedRequestError(HTTPStatus.FORBIDDEN, "no part of a path may begin with a dot")
    if not all(parts):
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "there is no such file; the list of runs is at /")
    try:
        place = root.joinpath(*parts).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "there is no such file; the list of runs is at /") from error
    if not place.is_relative_to(root):
        raise RefusedRequestError(HTTPStatus.FORBIDDEN, "a link leads out of the folder that is served")
    if not place.is_file() or place.suffix not in TYPES:
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "only reports and the texts of runs are served; the list of runs is at /")
    return place
