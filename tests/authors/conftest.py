"""Packages of others: modules and metadata in a folder that is on the path, as an installer leaves them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bpfree.catalogue.extensions import extensions

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(name, code, {group: {name: "module:object"}})`` makes a package of one module, of its own name."""
    modules: list[str] = []

    def make(name: str, code: str, points: Mapping[str, Mapping[str, str]]) -> None:
        folder = tmp_path / f"site-{name}"
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [
            line for group, each in points.items() for line in (f"[{group}]", *(f"{key} = {text}" for key, text in each.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(folder))
        modules.append(name)
        extensions.cache_clear()

    yield make
    extensions.cache_clear()
    for name in modules:
        sys.modules.pop(name, None)
