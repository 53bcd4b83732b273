"""Silence for CodeCarbon, which writes warnings to the terminal when it is only asked for a number."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["quiet_codecarbon"]


@contextlib.contextmanager
def quiet_codecarbon() -> Iterator[None]:
    """Silence CodeCarbon's logger, and restore it afterwards."""
    logger = logging.getLogger("codecarbon")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
