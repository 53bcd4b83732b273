"""CodeCarbon writes warnings to the terminal while it looks things up; here they would be noise."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["quiet_codecarbon"]


@contextlib.contextmanager
def quiet_codecarbon() -> Iterator[None]:
    """Silence CodeCarbon's logger, and leave it afterwards as it was."""
    logger = logging.getLogger("codecarbon")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
