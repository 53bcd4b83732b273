"""From a chart specification to SVG: one for the page, which follows its colours, and one as a file of its own.

The specification is drawn in sentinel colours. In the page they become ``currentColor`` and CSS variables, so
that one drawing serves light and dark mode; in the file they become plain colours on white.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import vl_convert

from bpfree.report.palette import COLOURS, SENTINELS, USE_SENTINELS, USES

__all__ = ["GRID", "INK", "MUTED", "SERIES", "in_page_colours", "inline", "render", "standalone"]

INK, GRID, MUTED = "#010203", "#040506", "#070809"
"""Sentinels: text and marks, grid lines, axis lines."""

SERIES = ("#101010", "#101011", "#101012", "#101013", "#101014", "#101015", "#101016")
"""Sentinels of series that are no arms of a report; those of arms are in :mod:`bpfree.report.palette`."""

_OKABE_ITO = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito 2008, without the yellow, which is too pale on white."""

_PAPER = {
    INK: "#1a1a1a",
    GRID: "#e6e6e6",
    MUTED: "#8a8a8a",
    **dict(zip(SERIES, _OKABE_ITO, strict=True)),
    **{sentinel: light for sentinel, (light, _dark) in zip((*SENTINELS, *USE_SENTINELS), (*COLOURS, *USES), strict=True)},
}
_PAGE = {
    INK: "currentColor",
    GRID: "var(--grid)",
    MUTED: "var(--muted)",
    **{sentinel: f"var(--series-{k})" for k, sentinel in enumerate(SERIES)},
    **{sentinel: f"var(--arm-{k})" for k, sentinel in enumerate(SENTINELS)},
    **{sentinel: f"var(--use-{k})" for k, sentinel in enumerate(USE_SENTINELS)},
}

_SVG = "http://www.w3.org/2000/svg"
_DROPPED = (
    "class",
    "role",
    "aria-roledescription",
    "aria-hidden",
    "aria-label",
    "pointer-events",
    "font-family",
)
_DEFAULTS = {"opacity": "1", "stroke-width": "1", "text-anchor": "start"}
_HEADING = 28
"""Height of the title above a drawing in a file of its own."""

_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")

ElementTree.register_namespace("", _SVG)


def render(spec: Mapping[str, Any]) -> str:
    """Draw a Vega-Lite specification, without a browser, and drop what only a script would need."""
    svg = vl_convert.vegalite_to_svg(dict(spec))
    # Vega counts clip paths over the life of the process; the same chart must give the same bytes.
    for number, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg))):
        svg = svg.replace(f' id="{name}"', f' id="clip-{number}"').replace(f"url(#{name})", f"url(#clip-{number})")
    root = ElementTree.fromstring(svg)
    _clean(root)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    for name in _DROPPED:
        element.attrib.pop(name, None)
    for name, default in _DEFAULTS.items():
        if element.get(name) == default:
            del element.attrib[name]
    for name in ("d", "transform", "x2", "y2"):
        if name in element.attrib:
            element.set(name, _LONG_NUMBER.sub(_rounded, element.attrib[name]))
    for child in list(element):
        _clean(child)
        if _invisible(child):
            element.remove(child)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number.group()):.1f}"


def _invisible(element: ElementTree.Element) -> bool:
    tag = element.tag.removeprefix(f"{{{_SVG}}}")
    painted = "fill" in element.attrib or "stroke" in element.attrib
    return (
        element.get("display") == "none"
        or element.get("opacity") == "0"
        or (tag == "path" and not element.get("d"))
        # Vega puts an unpainted rectangle behind each group, for the mouse.
        or (tag == "path" and not painted and element.get("d", "").count("h") == 2)
        or (tag == "g" and len(element) == 0)
    )


def inline(svg: str, name: str, title: str, description: str) -> str:
    """The drawing as part of a page: it scales, follows the page's colours, and has a description in words.

    Args:
        svg: what :func:`render` gave.
        name: unique in the page; prefixes every id in the drawing.
        title: what the chart is about.
        description: its main values.
    """
    root = _recoloured(svg, _PAGE)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    _describe(root, title, description, prefix=name)
    return ElementTree.tostring(root, encoding="unicode")


def standalone(svg: str, title: str, description: str) -> str:
    """The drawing as a file of its own: dark on white, with its title above and its description inside."""
    root = _recoloured(svg, _PAPER)
    root.set("font-family", "Helvetica, Arial, sans-serif")
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    _set_box(root, left, top - _HEADING, width, height + _HEADING)
    box = {"x": str(left), "y": str(top - _HEADING), "width": "100%", "height": "100%", "fill": "#ffffff"}
    root.insert(0, ElementTree.Element(f"{{{_SVG}}}rect", box))
    at = {
        "x": str(left + 8),
        "y": str(top - 10),
        "font-size": "14px",
        "font-weight": "bold",
        "fill": _PAPER[INK],
    }
    ElementTree.SubElement(root, f"{{{_SVG}}}text", at).text = title
    _describe(root, title, description, prefix="chart")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _set_box(root: ElementTree.Element, left: float, top: float, width: float, height: float) -> None:
    root.attrib |= {"width": f"{width:g}", "height": f"{height:g}"}
    root.set("viewBox", f"{left:g} {top:g} {width:g} {height:g}")


def _describe(root: ElementTree.Element, title: str, description: str, prefix: str) -> None:
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        label = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        label.text = text
        root.insert(position, label)


def _recoloured(svg: str, colours: Mapping[str, str]) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for paint in ("fill", "stroke"):
            if element.get(paint) in colours:
                element.set(paint, colours[element.attrib[paint]])
    return root


def in_page_colours(value: Any) -> Any:
    """A specification with the colours of the page for the sentinels, for a page that draws it itself."""
    if isinstance(value, str):
        return _PAGE.get(value, value)
    if isinstance(value, Mapping):
        return {key: in_page_colours(entry) for key, entry in value.items()}
    return [in_page_colours(entry) for entry in value] if isinstance(value, list | tuple) else value
