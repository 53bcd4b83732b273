"""Pictures in files: decoded by Pillow, resized and cropped to one size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.data.unpack import Damage
from bpfree.extras import need

__all__ = ["ENDINGS", "Pictures", "channels_of", "decoded", "need_pillow", "picture_shape"]

ENDINGS = ("jpg", "jpeg", "png")
"""Of files that are read, without the dot, in lower case."""

_FORMATS = ("JPEG", "PNG")
_GREY = ("1", "L", "LA", "I", "I;16")


def need_pillow(what: str) -> None:
    """Refuse pictures where Pillow is not installed.

    Raises:
        UsageError: with the command that installs it.
    """
    need(what, ("PIL",), "images")


def channels_of(sources: Sequence[Path | bytes]) -> int:
    """1 if all of these pictures are grey, else 3; those that cannot be opened are left out."""
    from PIL import Image

    modes = set()
    for source in sources:
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as picture:
                modes.add(picture.mode)
        except (OSError, SyntaxError, ValueError):
            continue
    return 1 if modes and modes <= set(_GREY) else 3


def picture_shape(sources: Sequence[Path | bytes], channels: int, size: int | None) -> tuple[int, int, int] | None:
    """(channels, height, width) that every picture must have: that of the first that can be read, or as asked; None without."""
    if size is not None:
        return (channels, size, size)
    for source in sources:
        picture = decoded(source, "", channels, None)
        if not isinstance(picture, Damage):
            channels, height, width = picture.shape
            return (channels, height, width)
    return None


def decoded(source: Path | bytes, where: str, channels: int, size: int | None) -> NDArray[np.uint8] | Damage:
    """A picture as (channels, height, width).

    Args:
        where: its name, for messages.
        size: of both sides: the shorter side is resized to it (bilinear, with antialiasing), and the middle is cut out.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return Damage(f"{where} cannot be decoded ({_reason(error)})")
    if size is not None and picture.size != (size, size):
        width, height = picture.size
        scale = size / min(width, height)
        picture = picture.resize((max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BILINEAR)
        left, top = (picture.width - size) // 2, (picture.height - size) // 2
        picture = picture.crop((left, top, left + size, top + size))
    values = np.asarray(picture)
    return values[None] if channels == 1 else np.moveaxis(values, 2, 0)


@dataclass(frozen=True)
class Pictures:
    """Some files that one worker decodes, see :class:`bpfree.data.unpack.Chunk`."""

    paths: tuple[Path, ...]
    size: int | None

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.paths)

    def read(self, shape: tuple[int, ...]) -> Iterator[Array | Damage]:
        """Each picture."""
        for path in self.paths:
            yield of_shape(decoded(path, str(path), shape[0], self.size), shape, str(path))


def of_shape(value: Array | Damage, shape: tuple[int, ...], where: str) -> Array | Damage:
    """The example, refused if it has another shape than the first."""
    if isinstance(value, Damage) or value.shape == shape:
        return value
    if len(shape) == 3 and value.dtype == np.uint8:
        sizes = f"{value.shape[2]} x {value.shape[1]} pixels, and the first example has {shape[2]} x {shape[1]}"
        return Damage(f"{where} has {sizes}; give all one size with --image-size {min(shape[1:])}", corrupt=False)
    return Damage(f"{where} has shape {value.shape}, and the first example has {shape}; store all in one shape", corrupt=False)


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is no JPEG or PNG file"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
