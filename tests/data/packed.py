"""Small folders of images and shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def picture(seed: int, height: int = 8, width: int = 8, mode: str = "RGB") -> bytes:
    """A PNG file of noise."""
    from PIL import Image

    shape = (height, width) if mode == "L" else (height, width, 3)
    values = np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(values, mode=mode).save(content, "PNG")
    return content.getvalue()


def write_folder(root: Path, counts: Mapping[str, int], **options) -> Path:
    """``root/PART/CLASS/00.png`` and so on; ``counts`` says how many by ``PART/CLASS``."""
    seed = 0
    for place, count in counts.items():
        folder = root / place
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:02}.png").write_bytes(picture(seed, **options))
            seed += 1
    return root


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def write_shard(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_shards(folder: Path, x: np.ndarray, y: np.ndarray, n_shards: int = 3) -> str:
    """Examples as .npy with .cls, divided among shards; the pattern that names them."""
    for shard, rows in enumerate(np.array_split(np.arange(len(x)), n_shards)):
        members = {}
        for row in rows:
            members |= {f"{row:06}.npy": npy(x[row]), f"{row:06}.cls": str(y[row]).encode()}
        write_shard(folder / f"s-{shard:06}.tar", members)
    return f"{folder}/s-{{000000..{n_shards - 1:06}}}.tar"
