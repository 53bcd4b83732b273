"""The scripts of Vega for a page: made once by ``vl-convert-python``, which the drawings come from too, and then kept on disk.

Nothing is downloaded. Making the bundle takes two seconds, which is most of a report; reading it none.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bpfree.errors import BpfreeError
from bpfree.files import write_atomic

__all__ = ["bundle", "bundle_file"]

SNIPPET = "globalThis.vegaEmbed = vegaEmbed;"


@cache
def bundle() -> str:
    """Vega-Embed, Vega-Lite and Vega, which define ``vegaEmbed``; safe within a ``script`` element."""
    place = bundle_file()
    if (stored := _read(place)) is not None:
        return stored
    import vl_convert  # deferred: only to make it

    code = _safe(vl_convert.javascript_bundle(SNIPPET))
    with suppress(OSError, BpfreeError):  # a home that cannot be written: it is made again the next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, f"{_digest(code)}\n{code}")
    return code


def bundle_file() -> Path:
    """Where it is kept, in the user's cache: a digest, then the code."""
    import pooch  # deferred: it imports much for the place of the cache

    return Path(pooch.os_cache("bpfree")) / "report" / f"vega-{version('vl-convert-python')}-{_digest(SNIPPET)[:8]}.txt"


def _read(place: Path) -> str | None:
    """The code; None where there is none, or not the whole of it."""
    try:
        digest, _, code = place.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    return code if digest == _digest(code) else None


def _safe(code: str) -> str:
    """Code that cannot end the ``script`` element it stands in: in its strings and comments ``<\\/`` is ``</``."""
    return re.sub(r"</(?=script)", r"<\\/", code.replace("\r\n", "\n"), flags=re.IGNORECASE)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
