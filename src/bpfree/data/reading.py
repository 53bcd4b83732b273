"""How files of the user's own are read."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfree.data.dataset import Dataset
from bpfree.data.storage import check_data_in
from bpfree.errors import UsageError

__all__ = ["Files", "Reading", "SkippedWarning", "with_skipped"]


@dataclass(frozen=True)
class Reading:
    """Options of files.

    Attributes:
        data_in: whether examples stay in their files, see :data:`bpfree.data.storage.DATA_IN`.
        image_size: pixels of both sides, to which pictures are resized and cropped; None where they have one size.
        skip_corrupt: leave out what cannot be decoded, and count it; otherwise it is an error.

    Raises:
        UsageError: an option out of range.
    """

    data_in: str = "auto"
    image_size: int | None = None
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        check_data_in(self.data_in)
        size = self.image_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 4096):
            raise UsageError(f"image_size must be a whole number from 1 to 4096 pixels, got {size!r}")

    def check_no_size(self, what: str) -> None:
        """Refuse a size of pictures for what is none.

        Raises:
            UsageError: one was asked.
        """
        if self.image_size is not None:
            raise UsageError(f"--image-size {self.image_size} was asked, but {what} is no image in a file; leave it out")

    def check_plain(self, what: str) -> None:
        """Refuse options of pictures and shards for what is neither.

        Raises:
            UsageError: naming the option.
        """
        self.check_no_size(what)
        if self.skip_corrupt:
            raise UsageError(f"--skip-corrupt was asked, but {what} is no folder of images and no shards; leave it out")


@dataclass(frozen=True)
class Files:
    """A data set by its name or files, and how it is read: a :data:`bpfree.data.Source`."""

    spec: str | Path
    reading: Reading = Reading()


class SkippedWarning(UserWarning):
    """Examples were left out, since they cannot be read and ``skip_corrupt`` was asked."""


def with_skipped(data: Dataset, skipped: Sequence[str]) -> Dataset:
    """``data``, whose note counts what was left out and names the first; a :class:`SkippedWarning` says so too."""
    if not skipped:
        return data
    more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
    words = f"skipped as corrupt: {len(skipped):,} ({skipped[0]}{more})"
    warnings.warn(f"{data.name}: {words}", SkippedWarning, stacklevel=5)
    return dataclasses.replace(data, note=f"{data.note} S{words[1:]}.", skipped=tuple(skipped))
