"""A chart for a page that draws it itself: its specification with a filter by arm, zoom, and what a pointer shows.

Where scripts do not run, the drawing of :mod:`bpfree.report.svg` stays.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bpfree.report.svg import in_page_colours

__all__ = ["HIDDEN", "ZOOM", "live"]

HIDDEN = "hidden_arms"
"""The parameter that holds the labels of the arms that are switched off."""

ZOOM = "zoom"
"""The parameter that holds what part of the axes is shown."""

_WHEEL = "wheel![event.ctrlKey||event.metaKey]"
"""Without a key the wheel moves the page; a pinch on a touchpad counts as the wheel with Ctrl."""


def live(spec: Mapping[str, Any]) -> str:
    """A specification as JSON for a ``script`` element: no text in it can end the element.

    Its keys: ``spec`` without data, ``data`` by name as columns and rows, ``titles`` by field of what a pointer shows, and
    ``log``, the axes that may be made logarithmic or linear; ``zoom``, the axes that may be zoomed.
    """
    data = spec["datasets"]
    given = [{"data": spec.get("data"), **layer} for layer in spec["layer"]]
    layers = [_layer(layer, data) for layer in given]
    zoomable = None if _has_bars(given) else next((layer for layer in layers if _axes(layer)), None)
    if zoomable is not None:
        select = {"type": "interval", "encodings": _axes(zoomable), "zoom": _WHEEL}
        zoomable["params"] = [{"name": ZOOM, "select": select, "bind": "scales"}]
    top = {key: value for key, value in spec.items() if key not in ("layer", "data", "datasets", "$schema")}
    made = {
        "spec": in_page_colours({**top, "params": [{"name": HIDDEN, "value": []}], "layer": layers}),
        "data": {name: _columns(rows) for name, rows in data.items()},
        "titles": dict(_titles(given)),
        "log": _log_axes(given, data),
        "zoom": _axes(zoomable) if zoomable else [],
    }
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _layer(layer: Mapping[str, Any], data: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The layer with a filter by arm, and without a legend of arms: the page has one for all charts of a table."""
    rows = data[layer["data"]["name"]]
    if not any("arm" in row for row in rows):
        return dict(layer)
    encoding = {
        name: {**channel, "legend": None} if name in ("color", "shape") and channel.get("field") == "arm" else channel
        for name, channel in layer["encoding"].items()
    }
    return {**layer, "encoding": encoding, "transform": [{"filter": f"indexof({HIDDEN}, datum.arm) < 0"}]}


def _axes(layer: Mapping[str, Any]) -> list[str]:
    """The axes of a layer that have numbers."""
    return [axis for axis in ("x", "y") if layer["encoding"].get(axis, {}).get("type") == "quantitative"]


def _has_bars(layers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a length from 0 is drawn."""
    return any(layer["mark"]["type"] == "bar" for layer in layers)


def _titles(layers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Field and title of each axis with numbers."""
    for layer in layers:
        for axis in _axes(layer):
            channel = layer["encoding"][axis]
            if channel.get("title") and not channel["field"].endswith("1"):  # the lower end of an interval
                yield channel["field"], channel["title"]


def _log_axes(layers: Sequence[Mapping[str, Any]], data: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The axes whose values are all above 0, and not stacked: those that may be made logarithmic."""
    if _has_bars(layers):
        return []
    values: dict[str, list[float]] = {}
    for layer in layers:
        for axis in _axes(layer):
            field = layer["encoding"][axis]["field"]
            numbers = (_number(row.get(field)) for row in data[layer["data"]["name"]])
            values.setdefault(axis, []).extend(number for number in numbers if number is not None)
    return sorted(axis for axis, of_axis in values.items() if all(value > 0 for value in of_axis))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows without their names, and each text once: ``{"keys": [...], "texts": [...], "rows": [[...], ...]}``.

    A text is given by its place among the texts; ``texts`` lists keys whose values are texts.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    named = [key for key in keys if any(isinstance(row.get(key), str) for row in rows)]
    places = {text: k for k, text in enumerate(dict.fromkeys(row[key] for row in rows for key in named if key in row))}
    return {
        "keys": keys,
        "named": named,
        "texts": list(places),
        "rows": [[places[row[key]] if key in named and key in row else _number(row.get(key)) for key in keys] for row in rows],
    }


def _number(value: Any) -> Any:
    """JSON has neither NaN nor infinity; they are not drawn either."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
