"""One colour for an arm in all reports, and others for the uses of memory; no two meanings share a colour.

Every rule of the package has a colour of its own, so that an arm looks alike in every report. The other arms (rules of other
packages, variants) have one of :data:`OTHERS`, chosen by their label alone; shape and dash distinguish two that meet.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from importlib.resources import files

import yaml

__all__ = ["ARMS", "COLOURS", "OTHERS", "SENTINELS", "USES", "USE_SENTINELS", "arm_colour", "style_sheet"]

ARMS: dict[str, tuple[str, str]] = {
    label: (light, dark)
    for label, (light, dark) in yaml.safe_load((files("bpfree.report") / "colours.yaml").read_text(encoding="utf-8")).items()
}
"""Colours on light and on dark paper, by the label of the arm."""

OTHERS: tuple[tuple[str, str], ...] = (
    ("#3f7f8f", "#84c2d2"),
    ("#8a5fa8", "#c7a4e0"),
    ("#5f7f3a", "#a6c97d"),
    ("#a04f8c", "#dd94cb"),
    ("#4f6fb0", "#92aee8"),
    ("#7c6a00", "#cdb83c"),
    ("#6a5acd", "#aaa0f5"),
    ("#9c5a74", "#d9a0b8"),
)
"""Colours of arms that have none in :data:`ARMS`."""

COLOURS: tuple[tuple[str, str], ...] = (*ARMS.values(), *OTHERS)

USES: tuple[tuple[str, str], ...] = (
    ("#26303c", "#e8edf2"),
    ("#4d5a69", "#bcc6d1"),
    ("#75828f", "#93a0ae"),
    ("#9aa5b0", "#6d7a88"),
    ("#bcc4cc", "#4a5663"),
)
"""Colours of the uses of memory: greys, which no arm has."""

SENTINELS = tuple(f"#3030{k:02x}" for k in range(len(COLOURS)))
USE_SENTINELS = tuple(f"#4040{k:02x}" for k in range(len(USES)))
"""What charts are drawn in; :mod:`bpfree.report.svg` replaces them."""

_PLACES = {label: k for k, label in enumerate(ARMS)}


def arm_colour(label: str) -> int:
    """Place of an arm's colour in :data:`COLOURS`, by the arm's label and nothing else."""
    if label in _PLACES:
        return _PLACES[label]
    return len(ARMS) + zlib.crc32(label.encode(errors="backslashreplace")) % len(OTHERS)


def style_sheet() -> str:
    """The colours as CSS variables ``--arm-K`` and ``--use-K``: light, dark where the screen is dark, and light in print."""
    light, dark = (" ".join(_variables(k)) for k in (0, 1))
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def _variables(scheme: int) -> Iterator[str]:
    yield from (f"--arm-{k}: {pair[scheme]};" for k, pair in enumerate(COLOURS))
    yield from (f"--use-{k}: {pair[scheme]};" for k, pair in enumerate(USES))
